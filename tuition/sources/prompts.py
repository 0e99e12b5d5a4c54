"""Prompts, and a reference text to each where there is one: the splits of a task of language models.

The pool that a budget buys of is the training prompts. Validation and test hold prompts with references. A prompt is known by its content,
so one that lies twice in a source counts once, as it stands first, and a training prompt that is also one of val or test is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError, unknown
from tuition.files import digest, write_array, write_json
from tuition.inputs import texts
from tuition.models.sequences import JOINT
from tuition.origins import Origins, objects, write_origins
from tuition.params import Columns, Data
from tuition.sources import wordnet
from tuition.sources.columns import SPLITS as NAMES
from tuition.sources.raw import UNKNOWN
from tuition.sources.readers import Table, open_table
from tuition.sources.records import Records
from tuition.sources.texts import Unusable, text_of
from tuition.tables import write_rejected
from tuition.workspace import Split, Splits, given

HELD_OUT = ("val", "test")
TABLES = ("csv", "jsonl", "parquet")
SPLIT = "split"  # the usual name of that column


@dataclass(frozen=True)
class Prompts:
    """n prompts, the reference of each ("" where there is none), the split that its source names ("" where it names none), and the rows
    that hold no prompt, with why."""

    records: Records
    references: np.ndarray
    splits: np.ndarray
    rejected: list[tuple[str, str]]

    def take(self, rows: np.ndarray) -> "Prompts":
        return Prompts(self.records.take(rows), self.references[rows], self.splits[rows], self.rejected)

    @property
    def ids(self) -> np.ndarray:
        """(n,) S64."""
        return np.array([texts.content_id(one) for one in self.records.texts], dtype="S64")


def load_prompts(data: Data) -> Prompts:
    """Read `data.source`. Raises UserError for an unknown kind, a file that cannot be read, and a column that is not there."""
    kind, _, place = data.source.partition(":")
    if data.source == "wordnet-definitions":
        return _collect(wordnet.load_definitions(), wordnet.FILE.name)
    if kind in TABLES and place:
        path = given(place)
        return _collect(_rows(open_table(path, f"data.source: {data.source}", kind), data.columns), Path(place).name)
    raise unknown("data.source", data.source, ["wordnet-definitions", *(f"{kind}:<file>" for kind in TABLES)])


Row = tuple[Any, Any, str]  # the cells of prompt and reference, and the split, "" where the source names none


def _rows(table: Table, columns: Columns) -> Iterator[Row]:
    split = columns.split or (SPLIT if SPLIT in table.columns else None)
    wanted = {"prompt": columns.prompt, "reference": columns.reference, "split": split}
    chosen = {role: name for role, name in wanted.items() if name is not None}
    for role, name in chosen.items():
        if name not in table.columns:
            raise unknown(f"{table.where}: data.columns.{role}", name, table.columns)
    number = 0
    for batch in table.batches(list(chosen.values())):
        for cells in zip(*batch, strict=True):
            row = dict(zip(chosen, cells, strict=True))
            named = str(row.get("split") or "train").strip().lower()
            if named not in NAMES:
                raise unknown(f"{table.where}: row {number}: column {split!r}", named, NAMES)
            yield row["prompt"], row.get("reference"), NAMES[named] if split else ""
            number += 1


def _collect(rows: Iterator[Row], file: str) -> Prompts:
    prompts, references, splits, places, rejected = [], [], [], [], []
    for number, (prompt, reference, split) in enumerate(rows):
        try:
            text = text_of({"prompt": prompt}, None)
            answer = "" if reference is None or not str(reference).strip() else text_of({"reference": reference}, None)
            if JOINT in text or JOINT in answer:
                raise Unusable("holds the record separator (U+001E), which parts a prompt from its text")
        except Unusable as error:
            rejected.append((f"{file} row {number}", str(error)))
            continue
        prompts.append(text)
        references.append(answer)
        splits.append(split)
        places.append(number)
    records = Records.of(file, [str(place) for place in places], prompts, places)
    return Prompts(records, objects(references), objects(splits), rejected)


def arrange(found: Prompts, data: Data) -> tuple[dict[str, Prompts], dict[str, int]]:
    """The splits, and how many prompts were left out as another one's: those that the source names, or a share of the prompts with a
    reference (`data.val`, `data.test`), drawn by `data.seed`. Raises UserError where a split ends empty, or one of val and test
    has a prompt without a reference."""
    _, first = np.unique(found.ids, return_index=True)
    distinct = found.take(np.sort(first))
    duplicates = {"within": len(found.records) - len(distinct.records)}
    rows = {name: np.flatnonzero(distinct.splits == name) for name in ("train", *HELD_OUT)}
    rows["train"] = np.flatnonzero((distinct.splits == "train") | (distinct.splits == ""))
    for number, name in enumerate(("test", "val")):
        if not len(rows[name]):
            able = rows["train"][distinct.references[rows["train"]] != ""]
            order = np.random.default_rng([data.seed, number]).permutation(len(able))
            rows[name] = np.sort(able[order[: round(getattr(data, name) * len(able))]])
            rows["train"] = np.setdiff1d(rows["train"], rows[name])
    for name, some in rows.items():
        if not len(some):
            raise UserError(
                f"data.source: {data.source}: no prompt is left for {name}; name its rows in the column {SPLIT!r}, or, where it is drawn "
                f"from those with a reference (data.columns.reference), raise data.{name}"
            )
        lacking = int((distinct.references[some] == "").sum())
        if name in HELD_OUT and lacking:
            raise UserError(
                f"data.source: {data.source}: {lacking} of {len(some)} prompts of {name} have no reference, against which students are "
                "held; put them into train"
            )
    return {name: distinct.take(some) for name, some in rows.items()}, duplicates


def facts_of(splits: dict[str, Prompts]) -> dict[str, Any]:
    """What data/meta.json says of such a task."""
    return {
        "task": "generate",
        "classes": [],
        "inputs": texts.NAME,
        **texts.facts(splits["train"].records.texts),
        "splits": {name: len(one.records) for name, one in splits.items()},
        "labelled": dict.fromkeys(splits, 0),
        "references": {name: int((one.references != "").sum()) for name, one in splits.items()},
    }


def write_prompts(data: Data, out: Splits, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the splits of `data.source`, and return what `meta.json` says; `settings`: of what section they were made."""
    found = load_prompts(data)
    splits, duplicates = arrange(found, data)
    for name, one in splits.items():
        _write(out.split(name), one)
        digests = [one.ids, np.array([texts.content_id(text) for text in one.references], dtype="S64")]
        write_json(
            out.split(name).meta,
            {"classes": []} if name == "train" else {"n": len(one.records), "digest": digest(*digests)},
        )
    write_rejected(out.rejected, found.rejected)
    meta = {
        "source": data.source,
        **facts_of(splits),
        "rejected": len(found.rejected),
        "duplicates": duplicates,
        "data": settings,
    }
    write_json(out.meta, meta)
    return meta


def summary(meta: dict[str, Any]) -> str:
    """What was written, in one line, from its `meta.json`."""
    sizes, known = meta["splits"], meta["references"]
    return (
        f"{meta['source']}: {sizes['train']} prompts to train, {known['train']} of them with a reference, {sizes['val']} to validate, "
        f"{sizes['test']} to test, {texts.size(meta)}; {meta['rejected']} rows without a prompt, {meta['duplicates']['within']} with "
        "another one's left out"
    )


def _write(files: Split, prompts: Prompts) -> None:
    texts.write(files.path, prompts.records.texts)
    texts.write(files.references, prompts.references)
    write_array(files.labels, np.full(len(prompts.records), UNKNOWN, dtype=np.int64))
    write_array(files.ids, prompts.ids)
    write_origins(files.files, prompts.ids, Origins(objects(prompts.records.files), prompts.records.rows))

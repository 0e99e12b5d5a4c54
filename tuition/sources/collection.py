"""Documents, queries, and which document answers which query: the splits of a task of retrieval.

The pool that a budget buys of is all documents, then the training queries, then those of which nobody says what answers them. Validation
and test are queries, and hold the whole of the documents against each. A text is known by its content, so a document that lies twice in a
source is one document, and a training query that is also one of validation or test is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tuition.errors import UserError, unknown
from tuition.files import digest, write_array, write_json
from tuition.inputs import texts
from tuition.origins import Origins, objects, write_origins
from tuition.params import Data
from tuition.sources import beir, wordnet
from tuition.sources.raw import UNKNOWN
from tuition.sources.records import Collection, Records
from tuition.tables import write_rejected
from tuition.workspace import Split, Splits

SOURCES: dict[str, tuple[str, Callable[[str, Data], Collection]]] = {  # kind -> what follows the colon, its loader
    "beir": ("<folder>", beir.load_beir),
    "wordnet-words": ("", wordnet.load_words),
}
HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Queries:
    """Texts (n,), ids (n,) S64 and names of the queries of a split, and `relevance` (m, 3) int64: a query's row here, a document's row in
    the pool, and how relevant it is, from 1 on."""

    records: Records
    relevance: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return content_ids(self.records)


@dataclass(frozen=True)
class Arranged:
    """A collection as it is used. `extra`: queries for training, of which no relevant document is known."""

    documents: Records
    splits: dict[str, Queries]
    extra: Records
    duplicates: dict[str, int] = field(default_factory=dict)

    @property
    def pool(self) -> Records:
        return self.documents + self.splits["train"].records + self.extra

    def facts(self) -> dict[str, Any]:
        """What data/meta.json says of a task of retrieval."""
        train = self.splits["train"]
        sizes = {name: len(self.splits[name].records) for name in HELD_OUT}
        return {
            "task": "retrieval",
            "classes": [],
            "inputs": texts.NAME,
            **texts.facts(self.pool.texts),
            "splits": {"train": len(self.pool), **sizes},
            "labelled": dict.fromkeys(("train", *HELD_OUT), 0),
            "documents": len(self.documents),
            "queries": {"train": len(train.records), "extra": len(self.extra), **sizes},
        }


def load_collection(data: Data) -> Collection:
    """Read `data.source`. Raises UserError for an unknown kind, and as its loader does."""
    kind, colon, place = data.source.partition(":")
    argument, loader = SOURCES.get(kind, ("", None))
    if loader is None or bool(argument) != bool(place) or (colon and not argument):
        raise unknown(
            "data.source", data.source, [f"{name}:{what}" if what else name for name, (what, _) in SOURCES.items()]
        )
    return loader(place, data)


def arrange(collection: Collection, data: Data) -> Arranged:
    """The splits of a collection: those that it has, or a share of its training queries (`data.val`, `data.test`), drawn by `data.seed`.

    Raises UserError where there is no training query, or a split ends empty.
    """
    documents, place = _distinct(collection.documents)
    found = {
        name: _queries(collection.queries, place_documents(relevance, place))
        for name, relevance in collection.relevance.items()
    }
    if "train" not in found:
        raise UserError(
            f"data.source: {data.source}: found judgements for {' and '.join(found) or 'no split'}, but none for train: students learn "
            "from training queries with a relevant document each (qrels/train.tsv)"
        )
    for number, name in enumerate(("test", "val")):
        if name not in found:
            found["train"], found[name] = _drawn(found["train"], getattr(data, name), [data.seed, number])
    named = np.concatenate([relevance[:, 0] for relevance in collection.relevance.values()])
    spare = np.setdiff1d(np.arange(len(collection.queries)), named)
    extra, duplicates = collection.queries.take(spare), {"within_documents": len(collection.documents) - len(documents)}
    found["val"], duplicates["val_in_test"] = _without(found["val"], found["test"].ids)
    held_out = np.concatenate([found[name].ids for name in HELD_OUT])
    found["train"], duplicates["train_in_test"] = _without(found["train"], held_out)
    kept = ~np.isin(content_ids(extra), np.concatenate([held_out, found["train"].ids]))
    for name in ("train", *HELD_OUT):
        if not len(found[name].records):
            raise UserError(
                f"data.source: {data.source}: no query is left for {name}; give it queries of its own (qrels/{name}.tsv), or, where it "
                f"is drawn from train, raise data.{name}"
            )
    return Arranged(documents, found, extra.take(np.flatnonzero(kept)), duplicates)


def write_collection(data: Data, out: Splits, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the splits of `data.source`, and return what `meta.json` says; `settings`: of what section they were made."""
    collection = load_collection(data)
    found = arrange(collection, data)
    _write(out.split("train"), found.pool, replace(found.splits["train"], relevance=_behind(found)).relevance)
    write_json(out.split("train").meta, {"classes": []})
    for name in HELD_OUT:
        records, relevance = found.splits[name].records, found.splits[name].relevance
        _write(out.split(name), records, relevance)
        ids = content_ids(records)
        facts = {"n": len(ids), "digest": digest(ids, relevance, content_ids(found.documents))}
        write_json(out.split(name).meta, facts)
    write_rejected(out.rejected, collection.rejected)
    warnings = texts.warnings([found.pool.texts])
    meta = {
        "source": data.source,
        **found.facts(),
        "rejected": len(collection.rejected),
        "duplicates": found.duplicates,
        "data": settings,
        **({"warnings": warnings} if warnings else {}),
    }
    write_json(out.meta, meta)
    return meta


def summary(meta: dict[str, Any]) -> str:
    """What was written, in one line, from its `meta.json`; and a line for each warning."""
    queries = meta["queries"]
    extra = f" and {queries['extra']} without" if queries["extra"] else ""
    same = meta["duplicates"]
    said = (
        f"{meta['source']}: {meta['documents']} documents, {queries['train']} queries to train with a relevant document{extra}, "
        f"{queries['val']} to validate, {queries['test']} to test, {texts.size(meta)}; {meta['rejected']} unreadable rows, "
        f"{same['within_documents']} documents with another one's text, and {same['train_in_test'] + same['val_in_test']} queries of two "
        "splits left out"
    )
    return "\n".join([said, *(f"warning: {meta['source']}: {one}" for one in meta.get("warnings", []))])


def content_ids(records: Records) -> np.ndarray:
    """(n,) S64."""
    return np.array([texts.content_id(one) for one in records.texts], dtype="S64")


def place_documents(relevance: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Judgements (m, 3) by the places that documents have now; of several for one query and document the most relevant."""
    moved = relevance.copy()
    moved[:, 1] = place[relevance[:, 1]]
    moved = moved[np.lexsort((-moved[:, 2], moved[:, 1], moved[:, 0]))]
    return moved[np.unique(moved[:, :2], axis=0, return_index=True)[1]]


def _distinct(documents: Records) -> tuple[Records, np.ndarray]:
    """The documents of different content, in their order, and the place there of each that was."""
    _, first, same = np.unique(content_ids(documents), return_index=True, return_inverse=True)
    kept = np.sort(first)
    return documents.take(kept), np.searchsorted(kept, first[same])


def _queries(records: Records, relevance: np.ndarray) -> Queries:
    """The queries that are judged, in their order."""
    rows = np.unique(relevance[:, 0])
    moved = relevance.copy()
    moved[:, 0] = np.searchsorted(rows, relevance[:, 0])
    return Queries(records.take(rows), moved)


def _take(queries: Queries, rows: np.ndarray) -> Queries:
    relevance = queries.relevance[np.isin(queries.relevance[:, 0], rows)].copy()
    relevance[:, 0] = np.searchsorted(rows, relevance[:, 0])
    return Queries(queries.records.take(rows), relevance)


def _drawn(queries: Queries, share: float, seed: list[int]) -> tuple[Queries, Queries]:
    """The rest, and a share of the queries."""
    count = len(queries.records)
    order = np.random.default_rng(seed).permutation(count)
    number = round(share * count)
    return _take(queries, np.sort(order[number:])), _take(queries, np.sort(order[:number]))


def _without(queries: Queries, ids: np.ndarray) -> tuple[Queries, int]:
    """The queries whose text is none of those with these ids, and how many that left out."""
    same = np.isin(queries.ids, ids)
    return (_take(queries, np.flatnonzero(~same)), int(same.sum())) if same.any() else (queries, 0)


def _behind(found: Arranged) -> np.ndarray:
    """The training queries' judgements by their rows in the pool, where they stand behind the documents."""
    return found.splits["train"].relevance + np.array([len(found.documents), 0, 0])


def _write(files: Split, records: Records, relevance: np.ndarray) -> None:
    ids = content_ids(records)
    texts.write(files.path, records.texts)
    write_array(files.labels, np.full(len(ids), UNKNOWN, dtype=np.int64))
    write_array(files.ids, ids)
    write_array(files.relevance, relevance)
    write_array(files.names, np.array([name.encode() for name in records.names]))
    write_origins(files.files, ids, Origins(objects(records.files), records.rows))

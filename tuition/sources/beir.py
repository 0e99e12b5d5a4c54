"""`beir:<folder>`: a collection in the layout of the BEIR benchmark (arXiv 2104.08663).

`corpus.jsonl` holds a document a line, {"_id": …, "title": …, "text": …}, `queries.jsonl` a query a line, {"_id": …, "text": …}, and
`qrels/train.tsv`, `dev.tsv` (or `val.tsv`) and `test.tsv` which document answers which query: query, document and how relevant it is, a
whole number, parted by tabs; a first line may name these columns. A document's text is its title and its text, a line each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.params import Data
from tuition.sources.readers import open_table
from tuition.sources.records import Collection, Records
from tuition.sources.texts import Unusable, text_of
from tuition.workspace import given, lacking

CORPUS, QUERIES, JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels"
SPLITS = {
    "train": "train",
    "dev": "val",
    "val": "val",
    "test": "test",
}  # a file of judgements, and the split that it is
NAMED = 3  # examples in a message


def load_beir(place: str, data: Data) -> Collection:
    """The collection of a folder.

    Raises UserError where a file is missing or cannot be read, a name stands twice, more than the share data.max_unreadable of the rows
    hold no text, judgements name what is not there, or a judged query has no relevant document.
    """
    folder = given(place)
    where = f"data.source: beir:{place}"
    if wrong := lacking(folder, "folder"):
        raise UserError(f"{where}: {wrong}; valid: a folder with {CORPUS}, {QUERIES} and {JUDGEMENTS}/train.tsv")
    rejected: list[tuple[str, str]] = []
    documents, total = _read(folder / CORPUS, ("title", "text"), rejected, where)
    queries, more = _read(folder / QUERIES, ("text",), rejected, where)
    if len(rejected) > data.max_unreadable * (total + more):
        first = "; ".join(f"{row}: {why}" for row, why in rejected[:NAMED])
        raise UserError(
            f"{where}: {len(rejected)} of {total + more} rows hold no text ({first}); mend or remove them, or raise data.max_unreadable "
            f"({data.max_unreadable})"
        )
    files = {file: file.stem for file in sorted((folder / JUDGEMENTS).glob("*.tsv")) if file.stem in SPLITS}
    splits = [SPLITS[stem] for stem in files.values()]
    if not files or len(set(splits)) < len(splits):
        found = ", ".join(f"{stem}.tsv" for stem in files.values()) or "none"
        raise UserError(f"{where}: {JUDGEMENTS}/: found {found}; valid: train.tsv, dev.tsv or val.tsv, and test.tsv")
    places = [{name: place for place, name in enumerate(records.names)} for records in (queries, documents)]
    relevance = {SPLITS[stem]: _judgements(file, *places) for file, stem in files.items()}
    return Collection(documents, queries, relevance, rejected)


def _read(file: Path, columns: tuple[str, ...], rejected: list[tuple[str, str]], where: str) -> tuple[Records, int]:
    """The texts of a file, without those that are none, and how many rows it has. Raises UserError for a name that stands twice."""
    table = open_table(file, f"{where}: {file.name}")
    for name in ("_id", "text"):
        if name not in table.columns:
            raise UserError(f"{table.where}: no key {name!r}; found {', '.join(table.columns)}")
    wanted = ["_id", *(name for name in columns if name in table.columns)]
    template = "\n".join("{" + name + "}" for name in wanted[1:]) if len(wanted) > 2 else None
    line_of: dict[str, int] = {}
    kept: list[tuple[str, str, int]] = []
    for row, cells in enumerate(_rows(table.batches(wanted), wanted)):
        name = cells.pop("_id")
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
            raise UserError(f"{table.where}: row {row + 1}: _id: found {name!r}; valid: a name, which stands once")
        if (first := line_of.setdefault(str(name), row)) != row:
            raise UserError(
                f"{table.where}: _id {name!r} stands in rows {first + 1} and {row + 1}; each may stand once"
            )
        try:
            kept.append((str(name), text_of(cells, template).strip(), row))
        except Unusable as error:
            rejected.append((f"{file.name}: row {row + 1} ({name})", str(error)))
    return Records.of(file.name, [one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept]), len(
        line_of
    )


def _rows(batches: Iterator[list[list[Any]]], names: list[str]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for cells in zip(*batch, strict=True):
            yield dict(zip(names, cells, strict=True))


def _judgements(file: Path, queries: dict[str, int], documents: dict[str, int]) -> np.ndarray:
    """(m, 3) of what is relevant. Raises UserError as `load_beir` does."""
    where = f"data.source: {file}"
    found: dict[tuple[int, int], int] = {}
    judged: dict[str, bool] = {}  # by query: whether a document is relevant to it
    missing: dict[str, list[str]] = {"query": [], "document": []}
    for number, line in enumerate(_text(file, where).splitlines(), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        grade = _grade(cells[2]) if len(cells) == 3 else None
        if grade is None:
            if number == 1 and len(cells) == 3:  # it names the columns
                continue
            raise UserError(
                f"{where}: line {number}: found {line[:80]!r}, expected query, document and a whole number, parted by tabs"
            )
        query, document = cells[0].strip(), cells[1].strip()
        if query not in queries:
            missing["query"].append(f"{query!r} (line {number})")
        elif document not in documents:
            missing["document"].append(f"{document!r} (line {number})")
        else:
            judged[query] = judged.get(query, False) or grade > 0
            if grade > 0:
                pair = (queries[query], documents[document])
                found[pair] = max(grade, found.get(pair, 0))
    for what, names in missing.items():
        if names:
            holder = CORPUS if what == "document" else QUERIES
            more = ", …" if len(names) > NAMED else ""
            raise UserError(
                f"{where}: names {len(names)} of which {holder} has no {what} with a text: {', '.join(names[:NAMED])}{more}"
            )
    if bare := [query for query, relevant in judged.items() if not relevant]:
        raise UserError(
            f"{where}: {len(bare)} queries have no relevant document, such as {', '.join(map(repr, bare[:NAMED]))}; each needs a line with "
            "1 or more, or none at all"
        )
    if not found:
        raise UserError(f"{where}: no judgement; expected a line for each query and relevant document")
    return np.array([(*pair, grade) for pair, grade in sorted(found.items())], dtype=np.int64)


def _text(file: Path, where: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read ({error})") from None


def _grade(cell: str) -> int | None:
    """A whole number; None where the cell holds something else."""
    try:
        return int(cell.strip())
    except ValueError:
        return None

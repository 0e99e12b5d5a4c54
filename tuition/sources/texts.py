"""A row a text: one column as it stands, or several joined by `data.columns.template`. Tables are gone through once."""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuition.errors import UserError, unknown
from tuition.inputs.kinds import INPUTS
from tuition.origins import objects, words
from tuition.params import Columns, Data
from tuition.params.data import PLACEHOLDER
from tuition.sources.columns import Chosen, Labels, split_of
from tuition.sources.parts import SPLITS, Source, origins_of, place_of
from tuition.sources.raw import Part, Raw
from tuition.sources.readers import Table

KIND = "texts"
USUAL = ("text", "sentence", "content", "question", "body")  # names of a column with texts, in any case


class Unusable(Exception):
    """Why a row holds no text."""


@dataclass
class Rows:
    """What memory holds of the rows of all tables; a row is counted over all of them."""

    labels: Labels
    texts: list[str] = field(default_factory=list)
    splits: array = field(default_factory=lambda: array("b"))
    kept: array = field(default_factory=lambda: array("q"))  # the row of each text
    refused: list[tuple[int, str]] = field(default_factory=list)  # a row, and why it holds no text
    starts: list[int] = field(default_factory=list)  # the first row of each table
    count: int = 0


def load_texts(
    sources: Sequence[Source], chosen: Chosen, root: Path, data: Data, where: str, warnings: Sequence[str] = ()
) -> Raw:
    """The texts of several tables, with origins relative to `root`. Rows without a text are rejected, with the reason.

    Raises UserError for labels and splits that are not what they must be, and where there is no row.
    """
    rows = Rows(Labels(where, chosen.label or ""))
    for one in sources:
        _scan(one, chosen, data.columns.template, rows)
    if not rows.count:
        raise UserError(f"{where}: no rows")
    tables = [one.table for one in sources]
    label, classes = rows.labels.mapped(tables[0].names.get(chosen.label or ""), data.classes)
    samples = objects(rows.texts)
    origins = origins_of(rows.starts, tables, root, np.array(rows.kept, np.int64))
    split, parts = np.array(rows.splits), {}
    for number, name in enumerate(SPLITS):
        if (mine := split == number).any():
            parts[name] = Part(samples[mine], label[mine], origins[mine])
    rejected = [(words(place_of(rows.starts, tables, root, row)), why) for row, why in rows.refused]
    told = [*warnings, *rows.labels.warnings(classes), *INPUTS[KIND].warnings([part.images for part in parts.values()])]
    return Raw(parts, classes, rejected, told, KIND)


def _scan(source: Source, chosen: Chosen, template: str | None, rows: Rows) -> None:
    """Add the texts, splits and labels of a table's rows."""
    table, split = source.table, chosen.split if source.split is None else None
    rows.starts.append(rows.count)
    wanted = dict.fromkeys([*chosen.texts, *(name for name in (chosen.label, split) if name is not None)])
    for batch in table.batches(list(wanted)):
        columns = dict(zip(wanted, batch, strict=True))
        for place in range(len(batch[0])):
            row, rows.count = rows.count, rows.count + 1
            try:
                text = text_of({name: columns[name][place] for name in chosen.texts}, template)
            except Unusable as error:
                rows.refused.append((row, str(error)))
                continue
            here = f"{table.where}: row {row - rows.starts[-1]}"
            value = split_of(columns[split][place], here, split) if split else source.split or "train"
            rows.labels.add(columns[chosen.label][place] if chosen.label else None, here)
            rows.texts.append(text)
            rows.splits.append(SPLITS.index(value))
            rows.kept.append(row)


class Row(NamedTuple):
    """A text, or "" and why there is none."""

    text: str
    reason: str = ""


def text_columns(table: Table, columns: Columns) -> tuple[str, ...]:
    """The columns of a table that make a text: those that are named, else the one with a usual name, or the only one.

    Raises UserError where a column is not there, or none is named and there are several.
    """
    folded = {name.casefold(): name for name in reversed(table.columns)}
    usual = [folded[name] for name in USUAL if name in folded]
    wanted = columns.texts or tuple(usual[:1] or table.columns)
    for name in wanted:
        if name not in table.columns:
            raise unknown(f"{table.where}: column", name, table.columns)
    if not columns.texts and len(wanted) > 1:
        raise UserError(
            f"{table.where}: which column holds the texts? Found {', '.join(wanted)}; name one: data.columns.text, or --column"
        )
    return wanted


def read_texts(table: Table, columns: Columns) -> Iterator[Row]:
    """The texts of a table, in its order. Raises UserError as `text_columns` does."""
    wanted = text_columns(table, columns)
    for batch in table.batches(list(dict.fromkeys(wanted))):
        for cells in zip(*batch, strict=True):
            try:
                yield Row(text_of(dict(zip(wanted, cells, strict=True)), columns.template))
            except Unusable as error:
                yield Row("", str(error))


def text_of(cells: dict[str, Any], template: str | None) -> str:
    """The text of a row's cells. Raises Unusable where they hold none.

    Of several cells an empty one is an empty place in the template. Numbers become texts as they are written.
    """
    found = {name: _text(value) for name, value in cells.items()}
    if template is None:
        (text,) = found.values()
    else:
        text = (
            re.sub(PLACEHOLDER, lambda match: found[match[1]], template) if any(map(str.strip, found.values())) else ""
        )
    if not text.strip():
        raise Unusable("holds no text" if not text else "holds nothing but white space")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unusable(f"holds half a character (U+{ord(text[error.start]):04X}), which UTF-8 does not have") from None
    return text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise Unusable(f"holds {type(value).__name__}, expected text")

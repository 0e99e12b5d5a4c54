"""Going through a table: the answers to samples in data/, and what became of the other rows.

Rows are read in batches. Memory holds the names of the samples in data/ and the answers to them, however long the table is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.sources.readers import Table
from tuition.teachers.table.cells import Cells, Row
from tuition.teachers.table.columns import Chosen
from tuition.teachers.table.samples import Find

EXAMPLES = 3  # that a message names


@dataclass
class Recorded:
    """`place` of a sample's answer in `values` (n, …), by content id; and of `rows`, how many are no new answer, and why.

    `unknown`: they name no sample, such as `strange`; `empty`: they have no answer; `others`: another file with the same content is
    answered otherwise by an earlier row, which stands.
    """

    values: np.ndarray
    place: dict[bytes, int] = field(default_factory=dict)
    rows: int = 0
    unknown: int = 0
    strange: list[str] = field(default_factory=list)
    empty: int = 0
    others: int = 0


@dataclass
class _Wrong:
    """What is wrong with rows, counted, with examples."""

    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if self.count <= EXAMPLES:
            self.examples.append(example)

    def check(self, where: str) -> None:
        if self.count:
            more = "; …" if self.count > EXAMPLES else ""
            raise UserError(
                f"{where}: {self.count:,} {self.what}: {'; '.join(self.examples)}{more}. Nothing was bought"
            )


def read(table: Table, chosen: Chosen, cells: Cells, find: Find, samples: int) -> Recorded:
    """The answers of a table to at most `samples` samples, which `find` finds.

    Raises UserError, with three examples, for answers that are none, and for two answers under one name.
    """
    found = Recorded(cells.empty(samples))
    named: list[str] = []  # by place: what the row called the sample, and its number
    row_of: list[int] = []
    unreadable, twice = _Wrong("answers that cannot be used"), _Wrong("rows answer otherwise than an earlier row")
    for batch in _batches(table, chosen, find, found):
        values, faults = cells.read([cells_of_row for _, _, _, cells_of_row in batch])
        for number, (row, key, id, _) in enumerate(batch):
            if number in faults:
                unreadable.add(f"row {row} ({key}): {faults[number]}")
                continue
            place = found.place.setdefault(id, len(named))
            if place == len(named):
                found.values[place] = values[number]
                named.append(key)
                row_of.append(row)
            elif not np.array_equal(found.values[place], values[number], equal_nan=cells.form != "labels"):
                if key == named[place]:
                    twice.add(f"rows {row_of[place]} and {row} ({key})")
                found.others += key != named[place]
    unreadable.check(table.where)
    twice.check(table.where)
    found.values = found.values[: len(named)]
    return found


def check(table: Table, chosen: Chosen, cells: Cells) -> int:
    """How many rows there are, of a table whose samples are not known yet. Raises UserError for answers that are none."""
    found, unreadable = Recorded(cells.empty(0)), _Wrong("answers that cannot be used")
    for batch in _batches(table, chosen, lambda _: b"", found):
        _, faults = cells.read([cells_of_row for _, _, _, cells_of_row in batch])
        for number, why in faults.items():
            unreadable.add(f"row {batch[number][0]} ({batch[number][1]}): {why}")
    unreadable.check(table.where)
    return found.rows


def _batches(table: Table, chosen: Chosen, find: Find, found: Recorded) -> Iterator[list[tuple[int, str, bytes, Row]]]:
    """(number of the row from 1 on, what it calls the sample, content id, cells of the answer) of rows that answer a sample."""
    for batch in table.batches(list(dict.fromkeys([chosen.key, *chosen.answers]))):
        columns = dict(zip(dict.fromkeys([chosen.key, *chosen.answers]), batch, strict=True))
        answered: list[tuple[int, str, bytes, Row]] = []
        for key, row in zip(
            columns[chosen.key], zip(*(columns[name] for name in chosen.answers), strict=True), strict=True
        ):
            found.rows += 1
            if all(_is_empty(cell) for cell in row):
                found.empty += 1
            elif key is None or (id := find(key)) is None:
                found.unknown += 1
                if len(found.strange) < EXAMPLES:
                    found.strange.append("" if key is None else str(key)[:80])
            else:
                answered.append((found.rows, str(key), id, row))
        yield answered


def _is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing; NaN is how libraries write a number that is missing."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and cell != cell)

"""The tables that a source is made of: which split each is, and where a row of all of them lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.origins import Origins, Place, objects
from tuition.sources.columns import Chosen
from tuition.sources.readers import Table

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """A table among those of a source."""

    table: Table
    split: str | None = None  # that all of its rows are in; None: a column says so, or they are train


def check_all_have(sources: Sequence[Source], chosen: Chosen) -> None:
    """Raises UserError where a table lacks a column that was chosen in the first one."""
    for one in sources[1:]:
        if missing := sorted(chosen.named - set(one.table.columns)):
            raise UserError(
                f"{one.table.where}: lacks the column {missing[0]!r}, which {sources[0].table.path.name} has"
            )


def place_of(starts: Sequence[int], tables: Sequence[Table], root: Path, row: int) -> Place:
    """The table, relative to `root`, and the row in it, of a row counted over all tables; `starts`: the first row of each."""
    number = int(np.searchsorted(starts, row, side="right")) - 1
    return _name(tables[number], root), row - starts[number]


def origins_of(starts: Sequence[int], tables: Sequence[Table], root: Path, rows: np.ndarray) -> Origins:
    """The same of many rows (n,)."""
    number = np.searchsorted(starts, rows, side="right") - 1
    names = objects([_name(table, root) for table in tables])
    return Origins(names[number], rows - np.array(starts, np.int64)[number])


def _name(table: Table, root: Path) -> str:
    path = table.path
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name

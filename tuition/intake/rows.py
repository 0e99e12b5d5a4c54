"""An inbox of texts: tables, a row a text, in a folder on this machine, or one such table. It is only read.

Knows nothing of pools and ledgers.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tuition.errors import UserError
from tuition.intake.item import Item
from tuition.params import Data
from tuition.sources.columns import USUAL, class_of
from tuition.sources.folder import files_below
from tuition.sources.readers import READERS, Table, open_table
from tuition.sources.texts import Unusable, text_columns, text_of
from tuition.workspace import given, lacking

LONGEST = 200  # bytes of a class whose name a folder can have


class Tables:
    """The tables in `place`, in the order of their names. Raises UserError where it is not there, or is neither folder nor table."""

    def __init__(self, place: str, data: Data, classes: Sequence[str]):
        if "://" in place:
            raise UserError(
                f"refresh.inbox: {place}: texts are taken from a folder or table on this machine. Nothing was taken"
            )
        self.data, self.classes, root = data, classes, given(place)
        if not root.exists():
            raise UserError(f"refresh.inbox: {place}: {lacking(root)}; expected tables of texts. Nothing was taken")
        self.files = (
            {root.name: root} if root.is_file() else {str(one.relative_to(root)): one for one in files_below(root)}
        )
        if root.is_file() and not _is_table(root):
            raise UserError(f"refresh.inbox: {place}: not a table ({', '.join(READERS)}). Nothing was taken")

    def items(self) -> Iterator[Item]:
        """Every row of every table, and every file that is none."""
        for name, path in sorted(self.files.items()):
            if _is_table(path):
                table = open_table(path, f"refresh.inbox: {name}")
                for number, item in enumerate(self._read(table)):
                    yield item._replace(place=f"{name} row {number}")
            else:
                yield Item(name, None, None, f"not a table: {', '.join(READERS)}")

    def _read(self, table: Table) -> Iterator[Item]:
        texts, label = text_columns(table, self.data.columns), self._label(table)
        wanted = list(dict.fromkeys([*texts, *([label] if label is not None else [])]))
        for batch in table.batches(wanted):
            for cells in zip(*batch, strict=True):
                row = dict(zip(wanted, cells, strict=True))
                of = class_of(row[label], self.classes, f"{table.where}: {label}") if label is not None else ""
                try:
                    text = text_of({name: row[name] for name in texts}, self.data.columns.template)
                except Unusable as error:
                    yield Item("", of or None, None, str(error))
                else:
                    why = "" if _names_folder(of) else f"no folder can be called as its class {of!r}"
                    yield Item("", of or None, text, why)

    def _label(self, table: Table) -> str | None:
        """The column with labels: the one that is named, else one with a usual name; None where there is none."""
        if self.data.columns.label is not None:
            return self.data.columns.label if self.data.columns.label in table.columns else None
        folded = {name.casefold(): name for name in reversed(table.columns)}
        return next((folded[name] for name in USUAL["label"] if name in folded), None)


def _names_folder(of: str) -> bool:
    return not (of.startswith(".") or "/" in of or os.sep in of or "\0" in of or len(of.encode()) > LONGEST)


def _is_table(path: Path) -> bool:
    return path.suffix.lower().removeprefix(".") in READERS

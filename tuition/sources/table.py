"""`csv:`, `jsonl:` and `parquet:<file>`: a row a sample, whose image is a file that the row names, or bytes within the table.

A table is gone through twice: for labels, splits and names, which memory holds, then for images, of which it holds what the student
sees.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from tuition.errors import UserError
from tuition.inputs.images import files as pixels
from tuition.origins import Origins, objects, words
from tuition.params import Data
from tuition.sources.cells import BOTH, BYTES, FILE, Opener
from tuition.sources.columns import Chosen, Labels, choose, split_of
from tuition.sources.folder import THREADS
from tuition.sources.parts import SPLITS, Source, check_all_have, place_of
from tuition.sources.raw import Part, Raw
from tuition.sources.readers import Table, open_table
from tuition.sources.texts import load_texts
from tuition.workspace import given


@dataclass
class Rows:
    """What memory holds of the rows of all tables."""

    names: list[str | None] = field(default_factory=list)  # the file with the image, relative to the root; None: bytes
    splits: array = field(default_factory=lambda: array("b"))
    starts: list[int] = field(default_factory=list)  # the first row of each table


def load_csv(place: str, data: Data) -> Raw:
    return load_tables([Source(_open(place, "csv"))], given(place).parent, data, f"csv:{place}")


def load_jsonl(place: str, data: Data) -> Raw:
    return load_tables([Source(_open(place, "jsonl"))], given(place).parent, data, f"jsonl:{place}")


def load_parquet(place: str, data: Data) -> Raw:
    return load_tables([Source(_open(place, "parquet"))], given(place).parent, data, f"parquet:{place}")


def _open(place: str, kind: str) -> Table:
    path, where = given(place), f"data.source: {kind}:{place}"
    if path.is_dir():
        raise UserError(f"{where}: a folder, expected a file; folders are folder:{place} or hf:{place}")
    return open_table(path, where, kind)


def load_tables(sources: list[Source], root: Path, data: Data, where: str) -> Raw:
    """The samples of several tables; the files that they name are relative to each table's folder, their origins to `root`.

    Raises UserError for columns, labels and splits that are not what they must be, and where none of the files is there.
    """
    chosen, warnings = choose(sources[0].table, data)
    check_all_have(sources, chosen)
    if chosen.texts:
        return load_texts(sources, chosen, root, data, where, warnings)
    kinds = [_kind(one.table, chosen.input) for one in sources]
    labels = Labels(where, chosen.label or "")
    rows = Rows()
    for one, kind in zip(sources, kinds, strict=True):
        _scan(one, kind, chosen, root, rows, labels)
    if not len(rows.names):
        raise UserError(f"{where}: no rows")
    names = sources[0].table.names.get(chosen.label or "")
    label, classes = labels.mapped(names, data.classes)
    tables = [one.table for one in sources]
    warnings += labels.warnings(classes) + _repeated(rows, label, tables, root)
    _check_there(rows.names, root, where)
    depths = pixels.Depths()
    images, kept, rejected, known = pixels.read(
        _Names(rows, tables, root),
        Opener(tables, kinds, chosen.input, rows.starts, rows.names, root),
        data.channels,
        data.resize,
        where,
        THREADS,
        depths,
    )
    split, origins = np.array(rows.splits)[kept], _origins(rows, tables, root, kept)
    parts = {}
    for number, name in enumerate(SPLITS):
        if (np.array(rows.splits) == number).any():
            mine = split == number
            originals = None if known is None else known[mine]
            parts[name] = Part(images if mine.all() else images[mine], label[kept][mine], origins[mine], originals)
    return Raw(parts, classes, rejected, depths.warnings() + warnings)


def _kind(table: Table, column: str) -> str:
    """What the image column holds. Raises UserError for a column that can hold no image."""
    from pyarrow import types

    found = table.types.get(column)
    if found is None or types.is_string(found) or types.is_large_string(found):
        return FILE
    if types.is_binary(found) or types.is_large_binary(found):
        return BYTES
    if types.is_struct(found) and "bytes" in {part.name for part in found}:
        return BOTH
    raise UserError(
        f"{table.where}: column {column!r} holds {found}; expected paths (text) or the bytes of image files"
    )


def _scan(source: Source, kind: str, chosen: Chosen, root: Path, rows: Rows, labels: Labels) -> None:
    """Add the names, splits and labels of a table's rows."""
    table = source.table
    rows.starts.append(len(rows.names))
    folder = table.path.parent.relative_to(root).as_posix() if table.path.parent != root else ""
    image = chosen.input if kind == FILE else None
    split = chosen.split if source.split is None else None
    wanted = [name for name in (image, chosen.label, split) if name is not None] or [table.columns[0]]
    row = 0
    for batch in table.batches(list(dict.fromkeys(wanted))):
        columns = dict(zip(dict.fromkeys(wanted), batch, strict=True))
        for place in range(len(batch[0])):
            here = f"{table.where}: row {row}"
            rows.names.append(_name(columns[image][place], folder, here) if image else None)
            value = split_of(columns[split][place], here, split) if split else source.split or "train"
            rows.splits.append(SPLITS.index(value))
            labels.add(columns[chosen.label][place] if chosen.label else None, here)
            row += 1


def _name(value: Any, folder: str, here: str) -> str:
    """The file that a row names; "" where it names none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{here}: the image is {value!r}; expected the path of a file")
    if value.startswith("data:"):
        raise UserError(f"{here}: the image is a data URL; expected the path of a file (bytes: in Parquet)")
    return f"{folder}/{value}" if folder and not value.startswith("/") else value


def _repeated(rows: Rows, labels: np.ndarray, tables: list[Table], root: Path) -> list[str]:
    """A warning where several rows name one file, and whether their labels differ."""
    if not any(rows.names):
        return []
    first: dict[str, int] = {}
    again = [row for row, name in enumerate(rows.names) if name and first.setdefault(name, row) != row]
    if not again:
        return []
    row, differ = again[0], sum(labels[row] != labels[first[rows.names[row] or ""]] for row in again)
    one, other = (words(place_of(rows.starts, tables, root, number)) for number in (first[rows.names[row] or ""], row))
    said = f"{len(again)} rows name a file that an earlier row names, such as {rows.names[row]} ({one} and {other})"
    return [said + (f"; {differ} of them with another label" if differ else "")]


def _check_there(names: Sequence[str | None], root: Path, where: str) -> None:
    """Raises UserError where every image is a file, and none of them is there."""
    if all(names) and not any((root / name).exists() for name in names if name):
        raise UserError(
            f"{where}: none of its {len(names)} images is there, such as {root / (names[0] or '')}; paths are relative to "
            "the table's folder"
        )


def _origins(rows: Rows, tables: list[Table], root: Path, kept: np.ndarray) -> Origins:
    """Files of their own where the table names them; else rows of the table."""
    places = [
        (name, -1) if (name := rows.names[row]) else place_of(rows.starts, tables, root, row) for row in kept.tolist()
    ]
    files = objects([file for file, _ in places])
    return Origins(files, np.array([row for _, row in places], np.int64))


class _Names(Sequence[str]):
    """What each row is called where it is rejected, made when it is asked for."""

    def __init__(self, rows: Rows, tables: list[Table], root: Path):
        self.rows, self.tables, self.root = rows, tables, root

    def __len__(self) -> int:
        return len(self.rows.names)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        place, name = words(place_of(self.rows.starts, self.tables, self.root, row)), self.rows.names[row]
        return f"{name} ({place})" if name else place

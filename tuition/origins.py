"""Where samples came from: a file, and a row where that is a table or an array; in memory, and as `data/<split>/files.csv`.

Knows nothing of how such a file is read (`tuition.sources`).
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuition.errors import as_utf8
from tuition.workspace import Split, Workspace

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ["id", "file", "row"]
SHORT = 16  # characters of an id in a message
SPLITS = ("train", "val", "test")

Place = tuple[str, int | None]  # a file, and a row of it; None: the file is the sample


def objects(values: Sequence[object]) -> np.ndarray:
    """The values as an array (n,) of objects; NumPy alone would make strings of one length into characters, and lists into rows."""
    import numpy as np

    return np.array([*values, None], dtype=object)[:-1]


@dataclass(frozen=True)
class Origins:
    """Where each of N samples came from.

    `file` (N,) objects: text, relative to the source's place; of a source without files, what it calls its parts. `row` (N,) int64:
    from 0 on in a table or array; −1 where the file is the sample.
    """

    file: np.ndarray
    row: np.ndarray

    @classmethod
    def of_files(cls, names: Sequence[str]) -> Origins:
        """Files of their own."""
        import numpy as np

        return cls(objects(names), np.full(len(names), -1))

    @classmethod
    def of_rows(cls, name: str, rows: np.ndarray | int) -> Origins:
        """Rows (N,) of one table or array; a number: its first so many."""
        import numpy as np

        rows = np.arange(rows) if isinstance(rows, int) else np.asarray(rows, dtype=np.int64)
        return cls(np.full(len(rows), name, dtype=object), rows)

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, rows: np.ndarray | slice) -> Origins:
        return Origins(self.file[rows], self.row[rows])

    def __add__(self, other: Origins) -> Origins:
        import numpy as np

        return Origins(np.concatenate([self.file, other.file]), np.concatenate([self.row, other.row]))

    def place(self, index: int) -> Place:
        """Of one sample."""
        row = int(self.row[index])
        return str(self.file[index]), None if row < 0 else row


@dataclass(frozen=True)
class Originals:
    """What the N originals were of which samples were made smaller: content ids (N,) S64, and sizes (N, 2) int32, height and width."""

    ids: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, found: Sequence[tuple[str, tuple[int, int]]]) -> Originals:
        """(content id, (height, width)) of each."""
        import numpy as np

        ids = np.array([id for id, _ in found], dtype="S64")
        return cls(ids, np.array([size for _, size in found], dtype=np.int32).reshape(-1, 2))

    def __getitem__(self, rows: np.ndarray | slice) -> Originals:
        return Originals(self.ids[rows], self.sizes[rows])


def words(place: Place) -> str:
    """A place in a message."""
    file, row = place
    return file if row is None else f"{file} row {row}"


def write_origins(path: Path, ids: np.ndarray, origins: Origins) -> None:
    """Write files.csv: `id,file,row`, a line for each of ids (N,) S64; row is empty where the file is the sample."""
    from tuition.files import atomic  # with numpy; who only reads needs none

    text = io.StringIO()
    rows = ["" if row < 0 else row for row in origins.row.tolist()]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(zip(ids.astype("U64").tolist(), origins.file.tolist(), rows, strict=True))
    with atomic(path) as file:
        file.write(as_utf8(text.getvalue()))


def read_origins(path: Path) -> Iterator[tuple[str, Place]]:
    """(id, place) of each line of a files.csv, in order; nothing where there is none, as in folders made before there were such."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            yield line["id"], (line["file"], int(line["row"]) if line["row"] else None)


def named(ids: Iterable[str]) -> dict[str, str]:
    """Each sample's file and row in words, of those that data/ knows; the first one, where several files hold the same content."""
    wanted = dict.fromkeys(ids)
    found: dict[str, str] = {}
    for split in SPLITS:
        if len(found) == len(wanted):
            break
        files = Workspace().split(split)
        for stored, (id, place) in zip(_stored_ids(files), read_origins(files.files), strict=False):
            for known in (id, stored):
                if known in wanted:
                    found.setdefault(known, words(place))
            if len(found) == len(wanted):
                break
    return found


def _stored_ids(split: Split) -> Iterator[str | None]:
    """The content ids of a split's samples as they are stored, where those are others than files.csv has; without end."""
    if split.stored_ids.exists():
        import numpy as np

        yield from np.load(split.stored_ids).astype("U64").tolist()
    yield from itertools.repeat(None)


def name(id: str) -> str:
    """What a message calls a sample: its file and row, where data/ knows them, else the beginning of its id."""
    return named([id]).get(id) or f"sample {id[:SHORT]}"

"""The images of a table's rows: files that they name, or bytes, of which memory holds a few batches."""

import io
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tuition.sources.folder import open_image
from tuition.sources.readers import Table

FILE, BYTES, BOTH = "file", "bytes", "both"  # what an image column holds; both: Hugging Face's {bytes, path}
KEPT = 1024  # rows within reach of threads that read images in order


class Opener:
    """Called with the number of a row, counted over all tables: its image, opened.

    Rows are asked for in order, by threads that are a few hundred apart; a row before those begins its table anew.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        kinds: Sequence[str],
        column: str,
        starts: Sequence[int],
        names: Sequence[str | None],
        root: Path,
    ):
        self.tables, self.kinds, self.column, self.starts, self.names, self.root = (
            tables,
            kinds,
            column,
            starts,
            names,
            root,
        )
        self.lock = threading.Lock()
        self.held: dict[int, Any] = {}  # cells by the number of their row
        self.table, self.next = -1, 0
        self.batches: Iterator[list[list[Any]]] = iter(())

    def __call__(self, row: int) -> Image.Image:
        """Raises ValueError or OSError that says why it is no image."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        if self.kinds[number] == FILE:
            if not (name := self.names[row]):
                raise ValueError("names no file")
            return open_image(self.root / name)
        with self.lock:
            cell = self._cell(number, row)
        if self.kinds[number] == BYTES:
            return _decoded(cell)
        cell = cell or {}
        if cell.get("bytes") is None and cell.get("path"):
            return open_image(self.tables[number].path.parent / cell["path"])
        return _decoded(cell.get("bytes"))

    def _cell(self, number: int, row: int) -> Any:
        while row not in self.held:
            if self.table != number or row < self.next:
                self.table, self.next = number, self.starts[number]
                self.batches = self.tables[number].batches([self.column])
            (cells,) = next(self.batches)
            self.held |= zip(range(self.next, self.next + len(cells)), cells, strict=True)
            self.next += len(cells)
            for old in [one for one in self.held if one < self.next - KEPT]:
                del self.held[old]
        return self.held[row]


def _decoded(content: bytes | None) -> Image.Image:
    if not content:
        raise ValueError("holds no image")
    return Image.open(io.BytesIO(content))

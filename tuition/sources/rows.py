"""Single rows of a table, in any order: of Parquet its row groups, of Arrow's streams the mapped file, so that memory holds little."""

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuition.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


class RowReader:
    """One column of a file. `[row]` gives a cell; raises UserError where the table has not so many rows."""

    def __init__(self, path: Path, column: str):
        self.path, self.column = path, column
        self._lock = threading.Lock()
        self._held: tuple[int, Any] = (-1, None)  # the row group that was read last

    def __getitem__(self, row: int) -> Any:
        with self._lock:
            for number, start in enumerate(self._starts[:-1]):
                if start <= row < self._starts[number + 1]:
                    return self._group(number)[row - start].as_py()
        raise UserError(f"{self.path}: {self._starts[-1]} rows, so no row {row}; it has changed since `prepare`")

    @cached_property
    def _starts(self) -> list[int]:
        sizes = (
            [self._parquet.metadata.row_group(i).num_rows for i in range(self._parquet.num_row_groups)]
            if self.path.suffix == ".parquet"
            else [self._stream.num_rows]
        )
        return [sum(sizes[:i]) for i in range(len(sizes) + 1)]

    def _group(self, number: int) -> Any:
        if self._held[0] != number:
            table = (
                self._parquet.read_row_group(number, columns=[self.column])
                if self.path.suffix == ".parquet"
                else self._stream
            )
            self._held = number, table.column(self.column)
        return self._held[1]

    @cached_property
    def _parquet(self) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(self.path)

    @cached_property
    def _stream(self) -> "pa.Table":
        import pyarrow as pa

        return pa.ipc.open_stream(pa.memory_map(str(self.path))).read_all()

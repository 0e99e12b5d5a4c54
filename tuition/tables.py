"""CSV tables with the same bytes for the same content."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuition.errors import UserError, as_utf8


def write_rows(path: Path, columns: list[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write `rows` under `columns`: floats with six significant digits, what a row lacks or holds as None as `nan`."""
    _write(path, [columns, *([_cell(row.get(column)) for column in columns] for row in rows)])


def write_columns(path: Path, columns: Mapping[str, Iterable[Any]]) -> None:
    """Write columns of one length by name, as `write_rows`."""
    rows = zip(*columns.values(), strict=True)
    write_rows(path, list(columns), (dict(zip(columns, row, strict=True)) for row in rows))


def write_rejected(path: Path, rejected: Iterable[tuple[str, str]]) -> None:
    """Write the files that were left out, each with the reason."""
    _write(path, [("file", "reason"), *rejected])


def _write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    from tuition.files import atomic  # with numpy; who only reads needs none

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic(path) as file:
        file.write(as_utf8(text.getvalue()))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table that a stage wrote. Raises UserError where it is not there."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None


def _cell(value: Any) -> str:
    if value is None:
        return "nan"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""Tables of any kind as columns in batches: CSV, JSON Lines, Parquet and Arrow's streams, never whole in memory.

Knows nothing of what the columns mean.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuition.errors import UserError
from tuition.files import stand_in
from tuition.workspace import lacking

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 256  # rows
BLOCK = 32 << 20  # bytes of a CSV file that are read at a time; no cell may be longer
AT_ONCE = 16_384  # rows of such a block
DELIMITERS = (",", "\t", ";")
UTF16 = (b"\xff\xfe", b"\xfe\xff")
Batch = list[list[Any]]  # a list of values for each column that was asked for


@dataclass(frozen=True)
class Table:
    """A table and how its columns are read: `batches(columns)` goes over it once, from its beginning."""

    where: str  # in messages
    path: Path
    columns: list[str]
    batches: Callable[[list[str]], Iterator[Batch]]
    types: dict[str, "pa.DataType"]  # of columns that may be something else than text
    names: dict[str, list[str]]  # of columns whose numbers stand for names, as Hugging Face's features say


def open_table(path: Path, where: str, kind: str | None = None) -> Table:
    """A table of a kind of `READERS`; None: that of its suffix.

    Raises UserError for a file that is missing, no table, not UTF-8, or has a column twice.
    """
    if not path.is_file():
        raise UserError(f"{where}: {lacking(path, 'file') or 'not a file'}")
    if found := stand_in(path):
        raise UserError(f"{where}: not a table: found {found}")
    return READERS[kind or path.suffix.lower().removeprefix(".")](path, where)


def open_csv(path: Path, where: str) -> Table:
    """A header, then a row a line; columns are parted by commas, semicolons or tabs. All values are text, empty ones None."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    with path.open("rb") as file:
        head = file.readline()
    if head.startswith(UTF16):
        raise UserError(f"{where}: UTF-16, expected UTF-8; save it as CSV UTF-8")
    if not head.strip():
        raise UserError(f"{where}: its first line is empty, expected one that names the columns")
    try:
        header = head.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(path, where) from None
    delimiter = max(DELIMITERS, key=header.count)  # the first of them where there is none
    columns = _unique(next(csv.reader([header], delimiter=delimiter)), where)

    def batches(wanted: list[str]) -> Iterator[Batch]:
        convert = arrow.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        parse = arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        try:
            read = arrow.ReadOptions(block_size=min(BLOCK, path.stat().st_size + 1))
            reader = arrow.open_csv(path, read_options=read, convert_options=convert, parse_options=parse)
            for block in reader:
                for start in range(0, len(block), AT_ONCE):
                    yield [block.column(name).slice(start, AT_ONCE).to_pylist() for name in wanted]
        except pa.ArrowInvalid as error:
            raise _not_utf8(path, where, str(error)) from None

    return Table(where, path, columns, batches, {}, {})


def open_jsonl(path: Path, where: str) -> Table:
    """An object a line. Read by `json`: columns that hold numbers here and text there are a table, too."""
    columns = list(dict.fromkeys(key for row in _json_rows(path, where) for key in row))
    if not columns:
        raise UserError(f"{where}: empty, expected an object a line")

    def batches(wanted: list[str]) -> Iterator[Batch]:
        rows: list[list[Any]] = []
        for row in _json_rows(path, where):
            rows.append([row.get(name) for name in wanted])
            if len(rows) == BATCH:
                yield [list(column) for column in zip(*rows, strict=True)]
                rows = []
        if rows:
            yield [list(column) for column in zip(*rows, strict=True)]

    return Table(where, path, columns, batches, {}, {})


def _json_rows(path: Path, where: str) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            if number == 1 and line.startswith(UTF16):
                raise UserError(f"{where}: UTF-16, expected UTF-8")
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"), object_pairs_hook=_once)
            except UnicodeDecodeError:
                raise _not_utf8(path, where) from None
            except ValueError as error:
                raise UserError(f"{where}: line {number}: not a JSON object ({error})") from None
            if not isinstance(row, dict):
                raise UserError(f"{where}: line {number}: found {type(row).__name__}, expected an object a line")
            yield row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"the key {twice[0]!r} twice")
    return row


def open_parquet(path: Path, where: str) -> Table:
    """Parquet, a few rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{where}: not a readable Parquet file ({_short(error)})") from None

    def batches(wanted: list[str]) -> Iterator[Batch]:
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH, columns=wanted, use_threads=False):
                    yield [batch.column(name).to_pylist() for name in wanted]
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{where}: damaged ({_short(error)})") from None

    return _typed(where, path, schema, batches)


def open_arrow(path: Path, where: str) -> Table:
    """Arrow's streaming format, as the library datasets saves it; mapped, so that memory holds a batch of it."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            schema = stream.schema
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{where}: not a readable Arrow stream ({_short(error)})") from None

    def batches(wanted: list[str]) -> Iterator[Batch]:
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                for whole in stream:
                    for start in range(0, len(whole), BATCH):
                        yield [whole.column(name).slice(start, BATCH).to_pylist() for name in wanted]
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{where}: damaged ({_short(error)})") from None

    return _typed(where, path, schema, batches)


def _typed(where: str, path: Path, schema: "pa.Schema", batches: Callable[[list[str]], Iterator[Batch]]) -> Table:
    """A table with types; and the names of classes that Hugging Face's libraries write into its schema."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features", {})
        names = {key: one["names"] for key, one in features.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, KeyError):
        names = {}
    types = dict(zip(schema.names, schema.types, strict=True))
    return Table(where, path, _unique(schema.names, where), batches, types, names)


def _unique(columns: list[str], where: str) -> list[str]:
    twice = [repr(name) for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise UserError(f"{where}: the column {', '.join(twice)} twice; each needs a name of its own")
    return list(columns)


def _not_utf8(path: Path, where: str, otherwise: str = "") -> UserError:
    """What is wrong with a text: the first byte that is no UTF-8, else `otherwise`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return UserError(
                    f"{where}: not UTF-8: byte 0x{line[error.start]:02x} in line {number}, at {file.tell() - len(line) + error.start} "
                    "bytes from the beginning; save it as UTF-8"
                )
    return UserError(f"{where}: {otherwise.splitlines()[0]}")


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


READERS = {"csv": open_csv, "jsonl": open_jsonl, "parquet": open_parquet, "arrow": open_arrow}

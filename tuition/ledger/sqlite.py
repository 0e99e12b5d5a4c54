"""SQLite as the ledger's engine: how its file is opened, how damage is seen before SQLite hides it, and what its errors mean for a user."""

import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry


def create_engine(path: Path, busy_seconds: float) -> sa.Engine:
    """An engine for a file, whose writers wait so long for one another."""
    url = sa.URL.create("sqlite", database=str(path))  # not as text: a path may hold a "?"
    engine = sa.create_engine(url, connect_args={"timeout": busy_seconds})
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def passes(message: str) -> bool:
    """Whether the same may work later, by SQLite's words: the disk was full, or another process held the file."""
    return _is_full(message) or _is_locked(message)


def _is_full(message: str) -> bool:
    return "full" in message or "disk I/O" in message


def _is_locked(message: str) -> bool:
    return "locked" in message


def advice(message: str, busy_seconds: float) -> str:
    """What was found, and what the user can change."""
    if "malformed" in message or "not a database" in message or "corrupt" in message:
        return (
            f"the file is damaged ({message}). Nothing was changed. Move it away and give back what is owned with "
            "`tuition ledger import outputs/<budget>`, or restore a backup"
        )
    if _is_full(message):
        return f"cannot be written ({message}). Free disk space there and run again: what is owned stays owned"
    if _is_locked(message):
        return f"another process has held it for {busy_seconds} s ({message}). End that process or wait, and run again"
    return message


def damage(path: Path) -> str | None:
    """What is wrong with the file, by its header; None: nothing.

    SQLite itself opens an emptied file as a new database, and reads a cut one up to the cut.
    """
    message = _damage(path)
    for _ in range(20):  # another process may be folding its log into the file this moment: what is damaged stays so
        if message is None or "bytes where" not in message:
            break
        time.sleep(0.02)
        message = _damage(path)
    return message


def _damage(path: Path) -> str | None:
    with path.open("rb") as file:
        header = file.read(100)
        size = os.fstat(file.fileno()).st_size
    if size == 0:
        return "the file is empty: corrupt"
    if len(header) < 100 or header[:16] != b"SQLite format 3\0":
        return "file is not a database"
    page = struct.unpack(">H", header[16:18])[0]
    page = 65536 if page == 1 else page
    pages = struct.unpack(">I", header[28:32])[0]
    with suppress(FileNotFoundError):
        if os.stat(f"{path}-wal").st_size > 0:
            return None
    return None if size >= page * pages else f"corrupt: {size} bytes where its header says {page * pages}"


def _on_connect(connection: Connection, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is in _on_begin
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a paid output survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

"""Where the ledger lives, and how it is opened without ever overwriting a damaged one."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from tuition.addresses import check_database
from tuition.errors import LATER, UserError
from tuition.files import place_new
from tuition.ledger import migrations, postgres, schema, sqlite
from tuition.workspace import given

BUSY_SECONDS = postgres.BUSY_SECONDS
SERVERS = ("postgresql", "postgres")
VALID = (
    "valid: a file path, sqlite:///path or postgresql://user:password@host:port/database, with @ in the password as %40"
)


class LedgerError(UserError):
    """The ledger cannot be used. Names its place and what to do; nothing was overwritten."""


class LedgerWaits(LedgerError):
    """The ledger cannot be used just now (disk full, held by another process, server away): trying again later may help."""

    status = LATER


class Ledger:
    """An open ledger. `read()` and `write()` give a connection inside one transaction."""

    def __init__(self, engine: sa.Engine, place: str):
        self.engine, self.place = engine, place
        self.server = engine.dialect.name == "postgresql"
        self._of_thread = threading.local()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that takes the write lock at once: what it reads is still true when it writes.

        Within another one of the same thread it is that one, which is committed or undone as a whole.
        """
        if (outer := getattr(self._of_thread, "writes", None)) is not None:
            yield outer
            return
        with (
            self._explained(),
            self.engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            if self.server:
                postgres.lock(connection)
            self._of_thread.writes = connection
            try:
                yield connection
            finally:
                self._of_thread.writes = None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One transaction that only reads: it never waits for a writer."""
        options = postgres.READING if self.server else {}
        with (
            self._explained(),
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def analyse(self, db: sa.Connection) -> None:
        """After many rows at once: a server that has not measured how they lie reads all of them for every question."""
        if self.server:
            db.exec_driver_sql("ANALYZE calls, parts")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError as error:
            if self.server:
                kind = LedgerWaits if postgres.passes(error) else LedgerError
                raise kind(f"ledger {self.place}: {postgres.advice(error, self.engine)}") from error
            found = str(error.orig)
            kind = LedgerWaits if sqlite.passes(found) else LedgerError
            raise kind(f"ledger {self.place}: {sqlite.advice(found, BUSY_SECONDS)}") from error

    def close(self) -> None:
        self.engine.dispose()


def locate() -> str:
    """The ledger's place: `TUITION_LEDGER` (a path or a database URL), else a file in the user's data folder."""
    import platformdirs

    place = os.environ.get("TUITION_LEDGER", "").strip()
    return place or str(Path(platformdirs.user_data_dir("tuition")) / "ledger.db")


def exists(place: str) -> bool:
    """Whether there is a ledger at `place` (a database server is taken to have one)."""
    return _is_server(place) or given(place).exists()


def _is_server(place: str) -> bool:
    """Whether a place is, or was meant to be, a URL: what lacks slashes is no file whose name could be shown."""
    return "://" in place or place.partition(":")[0].partition("+")[0] in SERVERS


def open_ledger(place: str | None = None) -> Ledger:
    """Open the ledger at `place` (default: `locate()`), made when there is none, migrated when it is older.

    Raises LedgerError when it is damaged, empty, newer than this Tuition, or not reachable.
    """
    place = _file_of(place or locate())
    if _is_server(place):
        url = _parsed(place)
        ledger = Ledger(_server(url), postgres.shown(url))
    else:
        path = given(place).absolute()
        _make_file(path)
        _check_file(path)
        ledger = Ledger(sqlite.create_engine(path, BUSY_SECONDS), str(path))
    _migrate(ledger)
    return ledger


def open_existing() -> Ledger:
    """The ledger at `locate()`, never made anew. Raises LedgerError where there is none."""
    place = locate()
    if not exists(place):
        raise LedgerError(f"ledger {place}: there is none; a first `dvc repro` makes it, or set TUITION_LEDGER")
    return open_ledger(place)


def _file_of(place: str) -> str:
    """The path in a SQLite URL, which is then treated as any other file; other places unchanged."""
    if not place.startswith("sqlite"):
        return place
    with suppress(sa.exc.ArgumentError):
        url = sa.make_url(place)
        if url.get_backend_name() == "sqlite":
            if url.database in (None, "", ":memory:"):
                raise LedgerError(f"TUITION_LEDGER: {place}: a ledger in memory forgets what was paid; name a file")
            return url.database
    return place


def _parsed(place: str) -> sa.URL:
    """The URL of a database server. Its text, which may hold a password, is in no error."""
    try:
        check_database("TUITION_LEDGER", place)
    except UserError as error:
        raise LedgerError(str(error)) from None
    scheme = place.partition("://")[0]
    if "://" not in place:
        raise LedgerError(f"TUITION_LEDGER: cannot be read as a URL; {VALID}")
    if scheme.partition("+")[0] not in SERVERS:
        raise LedgerError(f"TUITION_LEDGER: {scheme}://… is no ledger; {VALID}")
    try:
        return sa.make_url(place).set(drivername="postgresql")
    except (sa.exc.ArgumentError, ValueError):
        raise LedgerError(f"TUITION_LEDGER: cannot be read as a URL; {VALID}") from None


def _server(url: sa.URL) -> sa.Engine:
    try:
        return postgres.create_engine(url)
    except ImportError as error:
        raise LedgerError(
            f"TUITION_LEDGER: PostgreSQL needs a driver ({error}): pip install 'psycopg[binary]'"
        ) from None


def _make_file(path: Path) -> None:
    """Make a new ledger aside and link it into place whole, so that a file found there empty is a damaged one."""
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise LedgerError(
            f"ledger {path}: cannot be made there ({error}); set TUITION_LEDGER to another place"
        ) from None
    try:
        aside = Ledger(sqlite.create_engine(Path(name), BUSY_SECONDS), str(path))
        _migrate(aside)
        raw = aside.engine.raw_connection()
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # fold the WAL into the file before it moves
        raw.close()
        aside.close()
        place_new(Path(name), path)
    except OSError as error:
        raise LedgerError(
            f"ledger {path}: cannot be made there ({error}); set TUITION_LEDGER to another place"
        ) from None
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)


def _check_file(path: Path) -> None:
    try:
        damage = sqlite.damage(path)
    except OSError as error:
        raise LedgerError(f"ledger {path}: cannot be read ({error}); set TUITION_LEDGER to another place") from None
    if damage:
        raise LedgerError(f"ledger {path}: {sqlite.advice(damage, BUSY_SECONDS)}")


def _migrate(ledger: Ledger) -> None:
    """Bring the tables to this version. A newer ledger is refused."""
    newest = migrations.NEWEST
    with ledger.read() as connection:
        has = sa.inspect(connection).has_table("ledger_version")
        found = connection.scalar(sa.select(schema.version.c.version)) if has else 0
    if found == newest:
        return
    if found is not None and found > newest:
        raise LedgerError(
            f"ledger {ledger.place}: written by a newer Tuition (version {found}, this one knows {newest}); upgrade"
        )
    with ledger.write() as connection:
        names = set(sa.inspect(connection).get_table_names())
        has = schema.version.name in names  # another process may have been first
        if not has and (strange := names & set(schema.tables.tables)):
            raise LedgerError(
                f"ledger {ledger.place}: it holds {', '.join(sorted(strange))} of another program and no ledger. "
                "TUITION_LEDGER: name a place of its own"
            )
        found = (connection.scalar(sa.select(schema.version.c.version)) if has else 0) or 0
        if not found:
            migrations.create(connection)
        for migration in migrations.MIGRATIONS[found - 1 :] if found else ():
            migration(connection)
        connection.execute(schema.version.delete())
        connection.execute(schema.version.insert().values(version=newest))

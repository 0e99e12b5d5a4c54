"""Which MLflow store is named, and whether it can be opened: told in a moment, without MLflow, before anything is paid."""

import os
import re
import socket
import sqlite3
from contextlib import closing
from functools import cache
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

from tuition.addresses import check_database, shown, split_user
from tuition.errors import Unreachable, UserError
from tuition.workspace import Workspace, given

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT = f"sqlite:///{Workspace().mlflow_database}"
SERVERS = ("postgresql", "mysql", "mssql")
PLUGINS = "mlflow.tracking_store"  # by which packages give MLflow further stores
SECONDS = 5  # until a server answers
VALID = f"valid: a database such as {DEFAULT}, or http://host:port of an MLflow server"
REVISION = re.compile(r"^(down_)?revision\b[^=]*=\s*(.+)$", re.MULTILINE)
SPECIAL = "%#?"  # characters that mean something in an address; of a path they are none


def tracking_uri() -> str:
    """The store's URI, without a server's user and password, which go where MLflow shows them in no message and no file: into its
    own variables of the environment.

    Raises UserError where they are not escaped, so that parts of them would be taken for the server.
    """
    uri = os.environ.get(VARIABLE) or DEFAULT
    if not uri.startswith(("http://", "https://")):
        check_database(VARIABLE, uri)
        return uri
    plain, user, password = split_user(VARIABLE, uri)
    if plain != uri:
        os.environ |= {VARIABLE: plain, "MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    return plain


def database_of(uri: str) -> Path | None:
    """The file of a SQLite store; None for a server or another database."""
    scheme, _, rest = uri.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not rest or rest.startswith(":memory:"):
        return None
    return Path(rest.partition("?")[0]).absolute()


def store_missing() -> bool:
    """Whether the store is a SQLite file that is not there yet, so that nothing can be in it."""
    database = database_of(tracking_uri())
    return database is not None and not (database.is_file() and database.stat().st_size)


def as_location(place: Path) -> str:
    """A folder as MLflow takes the place of artifacts: it reads `%2F` there as `/`, and what is behind `?` and `#` as no path."""
    return "".join(quote(one) if one in SPECIAL else one for one in str(place))


def check_store() -> None:
    """Raises UserError where MLFLOW_TRACKING_URI names no store, or one that the installed MLflow cannot open.

    Looks at the address, at the version of a database's tables, or whether a server answers (else Unreachable). Makes nothing.
    """
    uri = tracking_uri()
    scheme = urlsplit(uri).scheme
    if scheme in ("", "file"):
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("1", "true"):
            raise UserError(
                f"{VARIABLE}: found {uri!r}, a folder; MLflow {version('mlflow')} keeps runs in folders no more; {VALID}. "
                "`mlflow migrate-filestore --help` says how to take over what is there"
            )
    elif scheme in ("http", "https"):
        _check_reachable(uri)
    elif (database := database_of(uri)) is not None:
        _check_file(uri, database)
    elif scheme.partition("+")[0] in SERVERS:
        _check_server(uri)
    elif scheme.partition("+")[0] not in {"sqlite", "databricks", *(one.name for one in entry_points(group=PLUGINS))}:
        raise UserError(f"{VARIABLE}: MLflow has no store for {scheme}://…; {VALID}")


def _check_reachable(uri: str) -> None:
    """MLflow itself would try a server that is not there for minutes."""
    parts = urlsplit(uri)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=SECONDS).close()
    except OSError as error:
        named = f"{parts.scheme}://{address[0]}:{address[1]}"  # without the user's name and password
        raise Unreachable(f"{VARIABLE}: no server answers at {named} ({error})") from None


def _check_file(uri: str, database: Path) -> None:
    if uri.partition(":///")[2].startswith("~"):
        place = given(uri.partition(":///")[2])
        raise UserError(f"{VARIABLE}: found {uri!r}, but an address knows no `~`; write 'sqlite:///{place}'")
    if "?" in str(database.parent):
        raise UserError(f"{VARIABLE}: {database.parent}: no database's address can hold a `?`; rename the folder")
    if not database.exists():
        above = next(one for one in database.parents if one.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise UserError(
                f"{VARIABLE}: {database} cannot be made: {above} is no folder that you may write to; {VALID}"
            )
        return
    if not database.is_file():
        raise UserError(f"{VARIABLE}: {database} is no file; {VALID}")
    if not database.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=30)) as connection:
            made = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error) or "locked" in str(error):
            return  # MLflow makes its tables there; or it writes just now
        raise UserError(f"{VARIABLE}: {database} cannot be read ({error}); {VALID}") from None
    except sqlite3.DatabaseError as error:
        raise UserError(f"{VARIABLE}: {database} is no SQLite database ({error}); {VALID}") from None
    _check_version(uri, made)


def _check_server(uri: str) -> None:
    import sqlalchemy as sa

    options = {"connect_args": {"connect_timeout": SECONDS}} if uri.startswith(("postgresql", "mysql")) else {}
    try:
        engine = sa.create_engine(uri, **options)
    except (sa.exc.ArgumentError, ImportError, ValueError) as error:
        raise UserError(
            f"{VARIABLE}: {urlsplit(uri).scheme}://…: {type(error).__name__}: {_first(error, uri)}; {VALID}"
        ) from None
    try:
        with engine.connect() as connection:
            made = list(connection.scalars(sa.text("SELECT version_num FROM alembic_version")))
    except sa.exc.OperationalError as error:
        raise Unreachable(f"{VARIABLE}: {shown(uri)}: {_first(error.orig or error, uri)}") from None
    except sa.exc.DBAPIError:
        return  # MLflow makes its tables there
    finally:
        engine.dispose()
    _check_version(uri, made)


def _first(error: BaseException, uri: str) -> str:
    """The first line of an error, which may quote the address."""
    return (str(error).replace(uri, shown(uri)).splitlines() or [""])[0]


def _check_version(uri: str, made: list[str]) -> None:
    known = newest_tables()
    if made and known and made != [known]:
        raise UserError(
            f"{VARIABLE}: the database {shown(uri)} was made by another MLflow: its tables are of version {', '.join(made)}, those of the "
            f"installed MLflow {version('mlflow')} of {known}. Is it older, copy it and run `mlflow db upgrade {shown(uri)}`; is it newer, "
            "install that MLflow; or name another database"
        )


@cache
def newest_tables() -> str | None:
    """The version of the tables that the installed MLflow works with, read from its migrations; None where they do not say."""
    mlflow = find_spec("mlflow")
    places = mlflow.submodule_search_locations if mlflow else None
    made: set[str] = set()
    followed: set[str] = set()
    for file in Path(places[0], "store/db_migrations/versions").glob("*.py") if places else ():
        for down, value in REVISION.findall(file.read_text(encoding="utf-8")):
            (followed if down else made).update(re.findall(r"[\"']([0-9a-f]+)[\"']", value))
    heads = made - followed
    return heads.pop() if len(heads) == 1 else None

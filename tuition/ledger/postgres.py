"""PostgreSQL as the ledger's engine: how it is reached and locked, and what its errors mean for a user.

It promises what SQLite promises: one writer at a time, who reads what is still true when it writes, and readers who see one
moment of the ledger and wait for nobody.
"""

import os
import socket
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

if TYPE_CHECKING:  # it may not be installed
    from psycopg import Connection
    from psycopg.abc import Buffer

BUSY_SECONDS = 60  # how long a writer waits for another one
IDLE_SECONDS = 300  # a writer that says nothing for so long (stopped, or its machine is gone) loses its transaction
WRITER = 0x7475_6974_696F_6E  # the advisory lock that writers hold: "tuition" in ASCII
REACH = {  # seconds, but for the last: milliseconds. The URL's own parameters come first
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 40_000,
}
READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}  # all of it sees one snapshot
# Classes of SQLSTATE, and single states, that pass: connection, serialization or deadlock, resources (disk full), operator
# intervention (shutdown, timeout), input or output; lock not available, idle too long, a standby that does not write yet.
PASSING = ("08", "40", "53", "57", "58", "55P03", "25P03", "25006")


def create_engine(url: sa.URL) -> sa.Engine:
    """An engine for `url`, whatever driver it names: ours is psycopg 3. Raises ModuleNotFoundError where that is not installed."""
    name = f"tuition {os.getpid()} on {socket.gethostname()}"[:63]
    # A statement prepared while the ledger was small keeps that plan; and PgBouncer, in between, may not know it.
    more = {"application_name": name, "client_encoding": "utf8", "prepare_threshold": None, **REACH}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={key: value for key, value in more.items() if key not in url.query},
        pool_pre_ping=True,  # a connection that a restart or a firewall has cut is noticed before it is used
        isolation_level="READ COMMITTED",  # under the writers' lock each statement sees all that is committed
        hide_parameters=True,  # a traceback shows no outputs
        use_native_hstore=False,
    )
    sa.event.listen(engine, "connect", _on_connect)
    return engine


def lock(connection: sa.Connection) -> None:
    """Become the one writer until the transaction ends. An error of class 55P03 after BUSY_SECONDS."""
    settings = {"lock_timeout": BUSY_SECONDS, "idle_in_transaction_session_timeout": IDLE_SECONDS}
    of_transaction = [sa.func.set_config(key, f"{seconds}s", True) for key, seconds in settings.items()]
    connection.execute(sa.select(*of_transaction, sa.func.pg_advisory_xact_lock(sa.literal(WRITER, sa.BigInteger))))


def shown(url: sa.URL) -> str:
    """The URL without its secrets."""
    hidden = {key: "***" for key in url.query if "password" in key}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def passes(error: sa.exc.DBAPIError) -> bool:
    """Whether the same may work later: the server was away, busy or full, or another transaction was in the way."""
    state = _state(error)
    return error.connection_invalidated or _unreached(error) or (state is not None and state.startswith(PASSING))


def advice(error: sa.exc.DBAPIError, engine: sa.Engine) -> str:
    """What was found, and what the user can change."""
    found, state, url = " ".join(str(error.orig).split()), _state(error), engine.url
    if state == "55P03":
        return f"another process has held it for {BUSY_SECONDS} s{_holder(engine)}. End that process or wait, and run again"
    if state == "53100":
        return f"the server's disk is full ({found}). Free space there and run again: what is owned stays owned"
    if state == "42501":
        return (
            f"{found}. TUITION_LEDGER: {url.username or 'this user'!r} needs rights there, such as a database of its own: "
            f"`createdb --owner={url.username or 'user'} tuition`"
        )
    if (
        _unreached(error) and "password" in found
    ):  # a failed connection has no SQLSTATE: the server's words are all there is
        return (
            f"the server refused user {url.username or ''!r} ({found}). TUITION_LEDGER: put the right password into it, "
            "with characters such as @ : / % percent-encoded, or into ~/.pgpass"
        )
    if _unreached(error) and "database" in found and "does not exist" in found:
        return f"{found}. TUITION_LEDGER: name a database that exists, or make this one: `createdb {url.database}`"
    if error.connection_invalidated or _unreached(error):
        return (
            f"the server cannot be reached ({found}). Start it, or correct host, port, database and user in TUITION_LEDGER; "
            "what is owned stays owned"
        )
    if state is None:
        return f"TUITION_LEDGER: {found}"
    return found


def _state(error: sa.exc.DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _unreached(error: sa.exc.DBAPIError) -> bool:
    """Whether there was no connection to begin with."""
    return isinstance(error, sa.exc.OperationalError) and _state(error) is None


def _holder(engine: sa.Engine) -> str:
    """Who the present writer is, for people to read; nothing where that cannot be asked."""
    held = sa.text(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint << 32 | l.objid::bigint) = :key "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    try:
        with engine.connect() as connection:
            name = connection.scalar(held, {"key": WRITER})
    except sa.exc.SQLAlchemyError:
        return ""
    return f" ({name})" if name else ""


def _on_connect(connection: "Connection", _record: ConnectionPoolEntry) -> None:
    """Text of a teacher's answer may hold a NUL, which PostgreSQL's text cannot: the answer is paid and must be stored."""
    from psycopg.types.string import StrDumper

    class WithoutNul(StrDumper):
        def dump(self, obj: str) -> "Buffer | None":
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    connection.adapters.register_dumper(str, WithoutNul)

"""The ledger's tables, and the list of migrations that made them.

A call's state is one of
    reserved   counted against every cap, not yet sent
    sent       on its way; the answer is not here yet
    done       answered and charged: its outputs are in `outputs`, or, where the answer was malformed, in `rejected`
    unknown    its process died between sent and done: counts as spent until it is resolved
    refunded   never charged; the sample may be bought again
The partial unique index `one_live_call` is what makes paying twice impossible, whatever the code above it does.
"""

import sqlalchemy as sa

LIVE = ("reserved", "sent", "done", "unknown")

tables = sa.MetaData()

version = sa.Table("ledger_version", tables, sa.Column("version", sa.Integer, nullable=False))

teachers = sa.Table(
    "teachers",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),  # JSON: what the fingerprint was computed from
    sa.Column("cap", sa.BigInteger),  # calls in the teacher's whole life
    sa.Column("spent", sa.BigInteger, nullable=False, default=0),  # live calls; equals their count at every commit
)

runs = sa.Table(
    "runs",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("teacher_id", sa.ForeignKey("teachers.id"), nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Float, nullable=False),  # tells a process from a later one with its number
    sa.Column("heartbeat", sa.Float, nullable=False),
    sa.Column("budget", sa.BigInteger, nullable=False),  # calls that this run may still make at its start
    sa.Column("spent", sa.BigInteger, nullable=False, default=0),
)

calls = sa.Table(
    "calls",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("teacher_id", sa.ForeignKey("teachers.id"), nullable=False),
    sa.Column("sample", sa.LargeBinary(32), nullable=False),  # sha256 of the content
    sa.Column("view", sa.Text, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("run_id", sa.ForeignKey("runs.id")),  # null: imported
    sa.Column("key", sa.String(32), nullable=False),  # idempotency key: the same when the same call is sent again
    sa.Column("reserved_at", sa.Float),
    sa.Column("sent_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("cost", sa.BigInteger, nullable=False, default=0),  # millionths of the price's unit
    sa.Column("detail", sa.Text),
)
_live = calls.c.state.in_([sa.literal_column(f"'{state}'") for state in LIVE])
sa.Index(
    "one_live_call", calls.c.teacher_id, calls.c.sample, calls.c.view,
    unique=True, sqlite_where=_live, postgresql_where=_live,
)  # fmt: skip
# Open calls are few: recovery finds them without reading the history.
_open = calls.c.state.in_(
    [sa.literal_column("'reserved'"), sa.literal_column("'sent'"), sa.literal_column("'unknown'")]
)
sa.Index("open_calls", calls.c.teacher_id, calls.c.state, sqlite_where=_open, postgresql_where=_open)

outputs = sa.Table(
    "outputs",
    tables,
    sa.Column("call_id", sa.ForeignKey("calls.id"), primary_key=True),
    sa.Column("signal", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),  # such as float32[10]
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("checksum", sa.LargeBinary(8), nullable=False),
    sqlite_with_rowid=False,
)

rejected = sa.Table(
    "rejected",
    tables,
    sa.Column("call_id", sa.ForeignKey("calls.id"), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),  # the answer as it came (npz), for inspection
)


def _create(connection: sa.Connection) -> None:
    tables.create_all(connection)


MIGRATIONS = [_create]  # append only; the version of a ledger is how many of these it has seen

"""The ledger's tables as they are now; `migrations` brings older ledgers to them.

A call's state is one of
    reserved   counted against every cap, not yet sent
    sent       on its way; the answer is not here yet
    done       answered and charged: its outputs are in a block, or, where the answer was malformed, in `rejected`
    unknown    its process died between sent and done: counts as spent until it is resolved
    refunded   never charged; the sample may be bought again
The partial unique index `one_live_call` is what makes paying twice impossible, whatever the code above it does.

Each call is reserved at its maximum `tokens` and `cost` and settled at its real ones, so a cap is never exceeded; the counters of its
teacher, its run and its day hold the sums at every commit. Money is in whole millionths, so that sums are exact.

A million small outputs would take half as much room again, but for three things: outputs of calls that were answered together lie
together, in a block (a call holds the number of its block and its place in it); the view of nearly all calls, `clean`, is stored as
nothing; and the index of live calls holds half of each sample's hash, which is as unique as the whole.
"""

import sqlalchemy as sa

from tuition.views import CLEAN

LIVE = ("reserved", "sent", "done", "unknown")
OPEN = ("reserved", "sent", "unknown")

tables = sa.MetaData()


class View(sa.TypeDecorator[str]):
    """What a call is for, beside its sample, as text (`keys.Request.stored`), CLEAN stored as ''."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """As it is stored."""
        return "" if value == CLEAN else value

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """As it is known elsewhere."""
        return CLEAN if value == "" else value


version = sa.Table("ledger_version", tables, sa.Column("version", sa.Integer, nullable=False))

teachers = sa.Table(
    "teachers",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),  # JSON: what the fingerprint was computed from
    sa.Column("caps", sa.Text, nullable=False, default="{}"),  # JSON: `spending.Caps`
    sa.Column("spent", sa.BigInteger, nullable=False, default=0),  # live calls
    sa.Column("spent_tokens", sa.BigInteger, nullable=False, default=0),
    sa.Column("spent_cost", sa.BigInteger, nullable=False, default=0),
    sa.Column("place", sa.Text),  # the address at which it was asked last, without secrets; null: it has none
    sa.Column("classes", sa.Text),  # JSON: names, in the order in which answers lie here; null: nobody has said
)

spending = sa.Table(
    "spending",
    tables,
    sa.Column("teacher_id", sa.ForeignKey("teachers.id"), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),  # days since 1970, UTC, of the reservation
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),
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
    sa.Column("budget_tokens", sa.BigInteger),  # null: no bound
    sa.Column("budget_cost", sa.BigInteger),
    sa.Column("spent", sa.BigInteger, nullable=False, default=0),
    sa.Column("spent_tokens", sa.BigInteger, nullable=False, default=0),
    sa.Column("spent_cost", sa.BigInteger, nullable=False, default=0),
)

blocks = sa.Table(
    "blocks",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("calls", sa.Integer, nullable=False),
)

parts = sa.Table(
    "parts",
    tables,
    sa.Column("block_id", sa.ForeignKey("blocks.id"), primary_key=True),
    sa.Column("signal", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),  # of one call's output, such as float32[10]
    sa.Column("payload", sa.LargeBinary, nullable=False),  # the outputs, one after the other
    sa.Column("checksums", sa.LargeBinary, nullable=False),  # theirs, likewise
    sqlite_with_rowid=False,
)

identities = sa.Table(
    "identities",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.Text, nullable=False, default="") for name in ("model", "version", "backend")),
)

calls = sa.Table(
    "calls",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("teacher_id", sa.ForeignKey("teachers.id"), nullable=False),
    sa.Column("sample", sa.LargeBinary(32), nullable=False),  # sha256 of the content
    sa.Column("view", View, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("run_id", sa.ForeignKey("runs.id")),  # null: imported
    sa.Column(
        "reserved_at", sa.BigInteger
    ),  # seconds since 1970; null when it is done, but where its answer was malformed
    sa.Column("sent_at", sa.BigInteger),  # likewise
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("tokens", sa.BigInteger, nullable=False, default=0),
    sa.Column("cost", sa.BigInteger, nullable=False, default=0),  # millionths of the price's unit
    sa.Column("block_id", sa.ForeignKey("blocks.id")),
    sa.Column("place", sa.Integer),  # in its block
    sa.Column("detail", sa.Text),  # why it came to this, for people to read
    sa.Column("usable", sa.Boolean),  # whether its answer can be used; null until it is done
    # Whether it was sent once more, its first sending unknown: whatever becomes of the second, the first counts as spent.
    sa.Column("resent", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("identity_id", sa.Integer),  # of `identities`: whom its answer names; null: nobody
    sa.Column("unlisted_tokens", sa.BigInteger),  # of its tokens, those that only the server's total counts; null: none
)
# Written out, not bound, and in the queries just as in the indices: only then SQLite sees that a partial index holds all that is
# asked for, where it would else read every call there is.
is_live, is_open = (calls.c.state.in_([sa.literal_column(f"'{state}'") for state in states]) for states in (LIVE, OPEN))
SHORT = 16  # bytes: the second half of a hash
short = sa.func.substr(calls.c.sample, sa.literal_column(str(32 - SHORT + 1)), type_=sa.LargeBinary(SHORT))
one_live_call = sa.Index(
    "one_live_call",
    calls.c.teacher_id,
    short,
    calls.c.view,
    unique=True,
    sqlite_where=is_live,
    postgresql_where=is_live,
)
# Open calls are few: recovery finds them without reading the history.
sa.Index("open_calls", calls.c.teacher_id, calls.c.state, sqlite_where=is_open, postgresql_where=is_open)

rejected = sa.Table(
    "rejected",
    tables,
    sa.Column("call_id", sa.ForeignKey("calls.id"), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),  # the answer as it came (npz), for inspection
)

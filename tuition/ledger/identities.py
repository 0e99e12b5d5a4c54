"""What answers say of themselves: the models that they came from, kept once each, and tokens that only a total counts."""

from collections.abc import Sequence

import sqlalchemy as sa

from tuition.identity import Identity
from tuition.ledger.database import Ledger
from tuition.ledger.schema import calls, identities

NAMES = ("model", "version", "backend")


def number(db: sa.Connection, identity: Identity) -> int | None:
    """The number of an identity, which is entered where it is new; None for one that names nothing."""
    if not identity:
        return None
    values = vars(identity)
    found = db.scalar(sa.select(identities.c.id).where(*(identities.c[name] == values[name] for name in NAMES)))
    return found or db.scalar(identities.insert().values(**values).returning(identities.c.id))


def taken(theirs: sa.Connection, ours: sa.Connection) -> dict[int, int | None]:
    """The number here of each identity of another ledger, by its number there."""
    return {row.id: number(ours, _identity(row)) for row in theirs.execute(sa.select(identities)).all()}


def of_owned(ledger: Ledger, teacher_id: int) -> list[tuple[Identity, int]]:
    """The identities that a teacher's owned answers name, the one that came first before the others, and the calls of each."""
    with ledger.read() as db:
        return counted(db, teacher_id)


def counted(db: sa.Connection, teacher_id: int) -> list[tuple[Identity, int]]:
    """As `of_owned`, within a transaction."""
    columns: Sequence[sa.Column] = [identities.c[name] for name in NAMES]
    chosen = (
        sa.select(*columns, sa.func.count().label("number"))
        .join(calls, calls.c.identity_id == identities.c.id)
        .where(calls.c.teacher_id == teacher_id, calls.c.state == "done", calls.c.usable)
        .group_by(*columns)
        .order_by(sa.func.min(calls.c.id))
    )
    return [(_identity(row), row.number) for row in db.execute(chosen).all()]


def unlisted(db: sa.Connection, teacher_id: int) -> tuple[int, int]:
    """(calls, tokens): the tokens of a teacher's answered calls that only a server's total counts, and how many calls have some."""
    sums = (sa.func.count(), sa.func.coalesce(sa.func.sum(calls.c.unlisted_tokens), 0))
    where = (calls.c.teacher_id == teacher_id, calls.c.state == "done", calls.c.unlisted_tokens.is_not(None))
    number, tokens = db.execute(sa.select(*sums).where(*where)).one()
    return int(number), int(tokens)


def _identity(row: sa.Row) -> Identity:
    return Identity(row.model, row.version, row.backend)

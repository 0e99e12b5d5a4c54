"""Joining another ledger to this one: what it owns becomes owned here, what it spent counts here, and what both have counts once."""

import json
from collections.abc import Iterator

import numpy as np
import sqlalchemy as sa

from stages.ledger import blocks
from stages.ledger.accounts import open_account
from stages.ledger.calls import parts
from stages.ledger.database import Ledger, LedgerError
from stages.ledger.imports import Books
from stages.ledger.owned import with_further
from stages.ledger.schema import LIVE, calls, rejected, teachers
from stages.ledger.spending import Amount, book, from_json

USABLE = (calls.c.state == "done", calls.c.block_id.is_not(None))


def merge(ledger: Ledger, other: Ledger) -> dict[str, int]:
    """Take all of `other` into `ledger`; `other` stays as it is, and merging twice changes nothing.

    Returns {taken: samples that brought something, held: samples owned here already, spent: further calls that are charged or
    unknown, damaged: outputs there that do not match their checksums and were left out}. Raises LedgerError where calls are under way
    in `other`, or both are one.
    """
    if other.place == ledger.place:
        raise LedgerError(f"ledger {ledger.place}: cannot be merged with itself")
    with other.read() as theirs:
        under_way = theirs.scalar(sa.select(sa.func.count()).where(calls.c.state.in_(("reserved", "sent"))))
        if under_way:
            raise LedgerError(
                f"ledger {other.place}: {under_way} calls are under way there. Wait until they end, or settle those of a killed process "
                "there with `tuition ledger unknown`"
            )
        listed = theirs.execute(sa.select(teachers).order_by(teachers.c.id)).all()
    counts = {"taken": 0, "held": 0, "spent": 0, "damaged": 0}
    for teacher in listed:
        with ledger.read() as db:
            known = db.scalar(sa.select(teachers.c.id).where(teachers.c.fingerprint == teacher.fingerprint))
        caps = None if known is not None else from_json(teacher.caps)  # those that are set here stay
        id = open_account(ledger, teacher.fingerprint, teacher.name, json.loads(teacher.description), caps)
        with other.read() as theirs, ledger.write() as ours:
            for view in theirs.scalars(
                sa.select(calls.c.view).where(calls.c.teacher_id == teacher.id).distinct()
            ).all():
                if "+" not in view:
                    _owned(theirs, ours, teacher.id, id, view, counts)
            counts["spent"] += _spent(theirs, ours, teacher.id, id)
    return counts


def _owned(
    theirs: sa.Connection, ours: sa.Connection, there: int, here: int, view: str, counts: dict[str, int]
) -> None:
    books = Books(ours, here, view)
    for sample, values, tokens, cost in _answers(theirs, there, view, counts):
        took = books.take(sample, values, cost, tokens)
        counts["taken" if took else "held"] += 1
    books.close()


def _answers(
    db: sa.Connection, teacher_id: int, view: str, counts: dict[str, int]
) -> Iterator[tuple[bytes, dict[str, np.ndarray], int, int]]:
    """(sample, {signal: array}, tokens, cost) of every sample with an output under `view` or bought further of it."""
    mine = (calls.c.teacher_id == teacher_id, with_further(view), *USABLE)
    samples = list(db.scalars(sa.select(calls.c.sample).where(*mine).distinct()))
    for some in parts([sample.hex() for sample in samples]):
        rows = db.execute(sa.select(calls).where(*mine, calls.c.sample.in_(some))).all()
        held: dict[int, list[sa.Row]] = {}
        for row in rows:
            held.setdefault(row.block_id, []).append(row)
        values: dict[bytes, dict[str, np.ndarray]] = {}
        for part in blocks.read(db, held):
            for row in held[part.block]:
                if part.is_whole(row.place):
                    values.setdefault(row.sample, {})[part.signal] = part.value(row.place)
                else:
                    counts["damaged"] += 1
        tokens, cost = ({sample: 0 for sample in values} for _ in range(2))
        for row in rows:
            if row.sample in values:
                tokens[row.sample] += row.tokens
                cost[row.sample] += row.cost
        for sample, signals in values.items():
            yield sample, signals, tokens[sample], cost[sample]


def _spent(theirs: sa.Connection, ours: sa.Connection, there: int, here: int) -> int:
    """Copy calls that were charged, or may have been, without a usable output, where there is no live call for them here."""
    bare = sa.or_(calls.c.state == "unknown", sa.and_(calls.c.state == "done", calls.c.block_id.is_(None)))
    rows = theirs.execute(
        sa.select(calls, rejected.c.reason, rejected.c.payload)
        .outerjoin(rejected, rejected.c.call_id == calls.c.id)
        .where(calls.c.teacher_id == there, bare)
    ).all()
    copied = Amount()
    number = 0
    for row in rows:
        same = (
            calls.c.teacher_id == here,
            calls.c.sample == row.sample,
            calls.c.view == row.view,
            calls.c.state.in_(LIVE),
        )
        if ours.scalar(sa.select(calls.c.id).where(*same)) is not None:
            continue
        kept = ("sample", "view", "state", "sent_at", "ended_at", "tokens", "cost", "detail")
        values = {name: row._mapping[name] for name in kept}
        id = ours.scalar(calls.insert().values(teacher_id=here, **values).returning(calls.c.id))
        if row.reason is not None:
            ours.execute(rejected.insert().values(call_id=id, reason=row.reason, payload=row.payload))
        copied = Amount(copied.calls + 1, copied.tokens + row.tokens, copied.cost + row.cost)
        number += 1
    book(ours, here, None, {None: copied})
    return number

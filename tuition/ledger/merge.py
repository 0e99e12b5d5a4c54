"""Joining another ledger to this one: what it owns becomes owned here, what it spent counts here, and what both have counts once."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from tuition.ledger import blocks, classes, identities
from tuition.ledger.accounts import open_account
from tuition.ledger.database import Ledger, LedgerError
from tuition.ledger.imports import Books
from tuition.ledger.keys import Key, among, base_of, sample_parts
from tuition.ledger.schema import calls, is_live, is_open, rejected, teachers
from tuition.ledger.spending import Amount, book, from_json

USABLE = (is_live, calls.c.state == "done", calls.c.block_id.is_not(None))


def merge(ledger: Ledger, other: Ledger) -> dict[str, int]:
    """Take all of `other` into `ledger`; `other` stays as it is, and merging twice changes nothing.

    Returns {taken: samples that brought something, held: samples owned here already, spent: further calls that are charged or
    unknown, damaged: outputs there that do not match their checksums and were left out}. A call of whose outputs none is whole counts
    as one that was charged for nothing. Raises LedgerError where calls are under way in `other`, or both are one.
    """
    if _same(ledger, other):
        raise LedgerError(f"ledger {ledger.place}: cannot be merged with itself")
    counts = {"taken": 0, "held": 0, "spent": 0, "damaged": 0}
    with other.read() as theirs:  # one moment of it
        under_way = theirs.scalar(sa.select(sa.func.count()).where(is_open, calls.c.state.in_(("reserved", "sent"))))
        if under_way:
            raise LedgerError(
                f"ledger {other.place}: {under_way} calls are under way there. Wait until they end, or settle those of a killed process "
                "there with `tuition ledger unknown`"
            )
        for teacher in theirs.execute(sa.select(teachers).order_by(teachers.c.id)).all():
            with ledger.read() as db:
                mine = sa.select(teachers.c.name).where(teachers.c.fingerprint == teacher.fingerprint)
                name = db.scalar(mine)
            caps = (
                from_json(teacher.caps) if name is None else None
            )  # those that are set here stay, and so does the name
            id = open_account(ledger, teacher.fingerprint, name or teacher.name, json.loads(teacher.description), caps)
            places = _order_of_classes(ledger, id, teacher)
            with ledger.write() as ours:
                named = identities.taken(theirs, ours)
                ruined = _owned(theirs, ours, teacher.id, id, counts, places, named)
                counts["spent"] += _spent(theirs, ours, teacher.id, id, ruined, named)
                ledger.analyse(ours)
    return counts


def _same(ledger: Ledger, other: Ledger) -> bool:
    places = [Path(one.place) for one in (ledger, other)]
    return ledger.place == other.place or (all(one.exists() for one in places) and places[0].samefile(places[1]))


def _order_of_classes(ledger: Ledger, id: int, teacher: sa.Row) -> np.ndarray | None:
    """Of each class here its place there; None: the order is the same, or nobody knows. Raises UserError where the names differ."""
    theirs = classes.read(teacher)
    return None if theirs is None else classes.order(theirs, classes.adopt(ledger, id, theirs, ()))


def _owned(
    theirs: sa.Connection,
    ours: sa.Connection,
    there: int,
    here: int,
    counts: dict[str, int],
    places: np.ndarray | None,
    named: Mapping[int, int | None],
) -> list[sa.Row]:
    """Returns the calls there of whose outputs nothing is whole."""
    books = Books(ours, here)
    ruined: list[sa.Row] = []
    for key, values, tokens, cost, row in _answers(theirs, there, counts, ruined):
        said = {"identity_id": named.get(row.identity_id), "unlisted_tokens": row.unlisted_tokens}
        took = books.take(key, classes.reordered(values, places), cost, tokens, said)
        counts["taken" if took else "held"] += 1
    books.close()
    return ruined


def _answers(
    db: sa.Connection, teacher_id: int, counts: dict[str, int], ruined: list[sa.Row]
) -> Iterator[tuple[Key, dict[str, np.ndarray], int, int, sa.Row]]:
    """((sample, view), {signal: array}, tokens, cost, call) of every view of a sample with an output, and what was bought further of it;
    the call is the first one."""
    mine = (calls.c.teacher_id == teacher_id, *USABLE)
    samples = list(db.scalars(sa.select(calls.c.sample).where(*mine).distinct()))
    for some in sample_parts(samples):
        rows = db.execute(sa.select(calls).where(*mine, among(some))).all()
        held: dict[int, list[sa.Row]] = {}
        for row in rows:
            held.setdefault(row.block_id, []).append(row)
        values: dict[Key, dict[str, np.ndarray]] = {}
        for part in blocks.read(db, held):
            for row in held[part.block]:
                if part.is_whole(row.place):
                    values.setdefault(_key(row), {})[part.signal] = part.value(row.place)
                else:
                    counts["damaged"] += 1
        tokens, cost = (dict.fromkeys(values, 0) for _ in range(2))
        first = {_key(row): row for row in sorted(rows, key=lambda one: one.id, reverse=True)}
        for row in rows:
            if _key(row) in values:
                tokens[_key(row)] += row.tokens
                cost[_key(row)] += row.cost
            else:
                ruined.append(row)
        for key, signals in values.items():
            yield key, signals, tokens[key], cost[key], first[key]


def _key(row: sa.Row) -> Key:
    """The sample and the view that an output belongs to, whatever call brought it."""
    return base_of((row.sample, row.view))


def _spent(
    theirs: sa.Connection,
    ours: sa.Connection,
    there: int,
    here: int,
    ruined: list[sa.Row],
    named: Mapping[int, int | None],
) -> int:
    """Copy calls that were charged, or may have been, without a usable output, where there is no live call for them here."""
    bare = sa.or_(calls.c.state == "unknown", sa.and_(calls.c.state == "done", calls.c.block_id.is_(None)))
    chosen = sa.select(calls, rejected.c.reason, rejected.c.payload).outerjoin(
        rejected, rejected.c.call_id == calls.c.id
    )
    rows = [dict(row._mapping) for row in theirs.execute(chosen.where(calls.c.teacher_id == there, bare))]
    lost = {"detail": "charged; its output was damaged in the ledger that was merged", "reason": None, "usable": False}
    rows += [{**row._mapping, **lost} for row in ruined]
    live = sa.select(calls.c.sample, calls.c.view).where(calls.c.teacher_id == here, is_live)
    held = {tuple(row) for row in ours.execute(live)}
    copied = Amount()
    for row in rows:
        if (row["sample"], row["view"]) in held:
            continue
        kept = ("sample", "view", "state", "sent_at", "ended_at", "tokens", "cost", "detail", "usable", "resent")
        values = {name: row[name] for name in (*kept, "unlisted_tokens")}
        values["identity_id"] = named.get(row["identity_id"])
        id = ours.scalar(calls.insert().values(teacher_id=here, **values).returning(calls.c.id))
        if row["reason"] is not None:
            ours.execute(rejected.insert().values(call_id=id, reason=row["reason"], payload=row["payload"]))
        copied = Amount(copied.calls + 1, copied.tokens + row["tokens"], copied.cost + row["cost"])
    book(ours, here, None, {None: copied})
    return copied.calls

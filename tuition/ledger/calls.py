"""The life of a call: reserved → sent → done | refunded | unknown, each step one transaction.

Order is everything. A call is counted against every cap *before* it is sent, and its outputs are committed in the
transaction that calls it done, so a process may die at any line and the books are right.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import sqlalchemy as sa

from tuition.errors import UserError
from tuition.identity import NOBODY, Identity
from tuition.ledger import blocks, identities, processes
from tuition.ledger.database import Ledger
from tuition.ledger.keys import Key, Request, find, key_of, keyed
from tuition.ledger.schema import calls, is_live, is_open, rejected, runs, teachers
from tuition.ledger.spending import Amount, Bound, CapReached, Caps, book, day_of, rebook, room, total, unbook

REFUNDED = {"state": "refunded", "tokens": 0, "cost": 0}
A_CALL = Amount(1)
UNDER_WAY = (is_open, calls.c.state.in_(("reserved", "sent")))


@dataclass(frozen=True)
class Call:
    """One reserved call: its number in the ledger, the request that it is for, the idempotency key to send, and what it is counted at."""

    id: int
    request: Request
    key: str
    again: bool = False  # sent once already, its fate unknown: not a new call
    most: Amount = A_CALL


@dataclass(frozen=True)
class Answer:
    """What came back for one call: an array per signal, or the reason why it is malformed and the answer as bytes.

    `tokens` and `cost` (millionths) are what it came to, where that is not known beforehand; `unlisted_tokens` those that only the
    server's total counts. `identity`: whom the answer names.
    """

    signals: dict[str, np.ndarray]
    malformed: str | None = None
    raw: bytes = b""
    tokens: int | None = None
    cost: int | None = None
    unlisted_tokens: int = 0
    identity: Identity = NOBODY

    @property
    def usable(self) -> bool:
        """Whether it can be owned."""
        return not self.malformed


def start_run(ledger: Ledger, teacher_id: int, budget: int, bound: Bound | None = None) -> int:
    """Open a run of this process that may make `budget` calls within `bound`; returns its id. Calls of dead runs are settled first."""
    bound = bound or Bound()
    with ledger.write() as db:
        _settle_dead(db, teacher_id)
        row = {
            "teacher_id": teacher_id,
            "host": processes.host(),
            "pid": os.getpid(),
            "process_started": processes.started(os.getpid()),
            "heartbeat": time.time(),
            "budget": budget if bound.calls is None else min(budget, bound.calls),
            "budget_tokens": bound.tokens,
            "budget_cost": bound.cost,
        }
        return db.scalar(runs.insert().values(row).returning(runs.c.id))  # type: ignore[return-value]


def reserve(
    ledger: Ledger,
    run: int,
    requests: Sequence[Request],
    *,
    resend: bool = False,
    caps: Caps | None = None,
    tokens: int = 0,
    cost: int = 0,
    amounts: Mapping[Request, Amount] | None = None,
    partial: bool = False,
) -> list[Call]:
    """Reserve a call for each of `requests` that has no live call, atomically against every cap.

    Each call is reserved at its maximum, its own of `amounts` or else `tokens` and `cost` (millionths), and settled at what it came to
    when it is finished. With `resend`, calls left unknown are taken over under their old key: the same call, counted once, from now on
    for this run and today. With `partial`, as many are reserved, in the order of `requests`, as every cap has room for. Requests in the
    hands of a live process are left out, so the list may be shorter than `requests`. Raises CapReached, reserving nothing, where not all
    fit (with `partial`: where none fits).
    """
    by_key, now, same = keyed(requests), int(time.time()), Amount(1, tokens, cost)
    most = dict.fromkeys(by_key.values(), same) if amounts is None else amounts
    with ledger.write() as db:
        teacher_id = db.scalars(sa.select(runs.c.teacher_id).where(runs.c.id == run)).one()
        teacher = db.execute(sa.select(teachers).where(teachers.c.id == teacher_id)).one()
        live = _live(db, teacher.id, by_key)
        lost = {
            live[one].id: most[one]
            for one in by_key.values()
            if resend and one in live and live[one].state == "unknown"
        }
        new = {key: one for key, one in by_key.items() if one not in live}
        db.execute(runs.update().where(runs.c.id == run).values(heartbeat=time.time()))
        again, words = rebook(db, run, lost, caps, now) if lost else ({}, "")
        fit, words = room(db, run, caps, [most[one] for one in new.values()], now) if new else (0, words)
        short = len(lost) - len(again) + max(0, len(new) - fit)
        if short and not (partial and (fit or again)):
            raise _cap_reached(db, teacher, words, short)
        _take_over(db, run, again, now)
        new = dict(islice(new.items(), fit))
        made = {one: row.id for one, row in live.items() if row.id in again}
        made |= _insert(db, teacher.id, run, new, most, now)
    return [
        Call(made[one], one, key_of(teacher.fingerprint, one), again=one in live, most=again.get(made[one], most[one]))
        for one in by_key.values()
        if one in made
    ]


def _cap_reached(db: sa.Connection, teacher: sa.Row, words: str, short: int) -> CapReached:
    return CapReached(
        f"teacher {teacher.name!r}: {words}; {short} more do not fit. Raise it or lower study.budgets",
        waits=_under_way(db, teacher.id),
    )


def _take_over(db: sa.Connection, run: int, again: Mapping[int, Amount], now: int) -> None:
    """Calls left unknown become this run's, to be sent again."""
    values = {"run_id": run, "reserved_at": now, "state": "reserved", "resent": True, "detail": "sent again"}
    for most in dict.fromkeys(again.values()):
        ids = [id for id, one in again.items() if one == most]
        values |= {"tokens": most.tokens, "cost": most.cost}
        db.execute(calls.update().where(calls.c.id.in_(ids)).values(**values))


def _insert(
    db: sa.Connection, teacher_id: int, run: int, new: Mapping[Key, Request], most: Mapping[Request, Amount], now: int
) -> dict[Request, int]:
    """Book and insert a reserved call for each; their numbers."""
    if not new:
        return {}
    book(db, teacher_id, run, {day_of(now): total(most[one] for one in new.values())})
    same = {"teacher_id": teacher_id, "state": "reserved", "run_id": run, "reserved_at": now}
    # In one go, and the numbers read after: a RETURNING would go row by row.
    rows = [
        {"sample": sample, "view": view, "tokens": most[one].tokens, "cost": most[one].cost, **same}
        for (sample, view), one in new.items()
    ]
    db.execute(calls.insert(), rows)
    return {request: row.id for request, row in _live(db, teacher_id, new).items()}


def mark_sent(ledger: Ledger, run: int, made: Sequence[Call]) -> None:
    """Record, before they leave, that these calls are sent: from here on they count as spent until something is known."""
    with ledger.write() as db:
        hit = _move(db, [call.id for call in made], ("reserved",), run, state="sent", sent_at=int(time.time()))
        if hit != len(made):  # the lease was lost: another process took this one for dead
            raise UserError(f"{len(made) - hit} of {len(made)} calls are no longer this run's; run again")


def finish(ledger: Ledger, run: int, made: Sequence[Call], answers: Sequence[Answer]) -> None:
    """Commit the answers and what each came to together. A malformed answer is charged and kept aside."""
    given = dict(zip((call.id for call in made), answers, strict=True))
    with ledger.write() as db:
        # Whoever holds the call by now: an answer that arrives after this process was taken for dead is still an answer,
        # and one that another process has brought meanwhile stays as it is.
        columns = (calls.c.id, calls.c.teacher_id, calls.c.run_id, calls.c.reserved_at, calls.c.tokens, calls.c.cost)
        where = (calls.c.id.in_(list(given)), calls.c.state.in_(("reserved", "sent", "unknown")))
        mine = db.execute(sa.select(*columns).where(*where)).all()
        done = {"state": "done", "usable": True, "ended_at": int(time.time())}
        done |= {"reserved_at": None, "sent_at": None, "detail": None}
        numbers = {one: identities.number(db, one) for one in {answer.identity for answer in answers}}
        charged: dict[tuple[int, int, int | None, int | None], list[int]] = {}
        for row in mine:
            answer = given[row.id]
            came_to = (answer.tokens or 0, answer.cost or 0, numbers[answer.identity], answer.unlisted_tokens or None)
            charged.setdefault(came_to, []).append(row.id)
        for (tokens, micros, number, unlisted), ids in charged.items():
            said = {"tokens": tokens, "cost": micros, "identity_id": number, "unlisted_tokens": unlisted}
            db.execute(calls.update().where(calls.c.id.in_(ids)).values(**done, **said))
        _reconcile(db, mine, {id: Amount(0, *came_to[:2]) for came_to, ids in charged.items() for id in ids})
        blocks.store(db, [(row.id, given[row.id].signals) for row in mine if given[row.id].usable])
        bad = [(row.id, given[row.id]) for row in mine if not given[row.id].usable]
        if bad:  # with their day: should they be given back, they come off the books of it
            day = {row.id: row.reserved_at for row in mine}
            kept = [{"call_id": id, "reason": answer.malformed, "payload": answer.raw} for id, answer in bad]
            db.execute(rejected.insert(), kept)
        for id, answer in bad:
            why = {"usable": False, "detail": f"malformed: {answer.malformed}", "reserved_at": day[id]}
            db.execute(calls.update().where(calls.c.id == id).values(**why))
        db.execute(runs.update().where(runs.c.id == run).values(heartbeat=time.time()))


def _reconcile(db: sa.Connection, before: Sequence[sa.Row], real: dict[int, Amount]) -> None:
    """Book what calls came to instead of the most that they might have."""
    changes: dict[tuple[int, int | None], dict[int | None, Amount]] = {}
    for row in before:
        tokens, cost = real[row.id].tokens - row.tokens, real[row.id].cost - row.cost
        if tokens or cost:
            days = changes.setdefault((row.teacher_id, row.run_id), {})
            day = day_of(row.reserved_at)
            sum = days.get(day, Amount())
            days[day] = Amount(0, sum.tokens + tokens, sum.cost + cost)
    for (teacher_id, run_id), days in changes.items():
        book(db, teacher_id, run_id, days)


def refund(ledger: Ledger, run: int, made: Sequence[Call], reason: str) -> None:
    """Give back calls that were surely not processed (never sent, or refused before processing)."""
    with ledger.write() as db:
        ids = [call.id for call in made]
        # Sent again: of its first sending nothing is known still, so it goes on counting as spent.
        mine = (calls.c.id.in_(ids), calls.c.run_id == run, calls.c.state.in_(("reserved", "sent")))
        again = {"state": "unknown", "detail": f"sent again: {reason}"}
        db.execute(calls.update().where(*mine, calls.c.resent).values(**again))
        unbook(db, mine)
        db.execute(calls.update().where(*mine).values(REFUNDED | {"ended_at": int(time.time()), "detail": reason}))


def abandon(ledger: Ledger, run: int, made: Sequence[Call], reason: str) -> None:
    """Calls that were sent and whose fate this process cannot tell: they count as spent until resolved."""
    with ledger.write() as db:
        _move(db, [call.id for call in made], ("sent",), run, state="unknown", detail=reason)


def beat(ledger: Ledger, run: int, now: float) -> None:
    """Let other machines know that this run lives."""
    with ledger.write() as db:
        db.execute(runs.update().where(runs.c.id == run).values(heartbeat=now))


def settle(ledger: Ledger, teacher_id: int) -> None:
    """Settle the calls of runs whose process died: never sent → refunded, sent → unknown."""
    with ledger.write() as db:
        _settle_dead(db, teacher_id)


def _settle_dead(db: sa.Connection, teacher_id: int) -> None:
    open_runs = sa.select(runs).where(
        runs.c.id.in_(sa.select(calls.c.run_id).where(calls.c.teacher_id == teacher_id, *UNDER_WAY))
    )
    now = time.time()
    for run in db.execute(open_runs).all():
        if processes.is_alive(run, now):
            continue
        mine = (calls.c.teacher_id == teacher_id, calls.c.run_id == run.id, is_open)
        never = (*mine, calls.c.state == "reserved", calls.c.sent_at.is_(None))
        if unbook(db, never):
            why = {"ended_at": int(now), "detail": "never sent: its process died"}
            db.execute(calls.update().where(*never).values(REFUNDED | why))
        db.execute(
            calls.update()
            .where(*mine, calls.c.state.in_(("reserved", "sent")))
            .values(state="unknown", detail="its process died between sending and the answer")
        )


def _under_way(db: sa.Connection, teacher_id: int) -> bool:
    """Whether calls are in somebody's hands, whose end may make room."""
    return db.scalar(sa.select(sa.exists().where(calls.c.teacher_id == teacher_id, *UNDER_WAY))) or False


def holders(ledger: Ledger, teacher_id: int) -> list[str]:
    """Who has calls under way: host, process and number of calls, for people to read."""
    with ledger.read() as db:
        rows = db.execute(
            sa.select(runs.c.host, runs.c.pid, sa.func.count())
            .join(calls, calls.c.run_id == runs.c.id)
            .where(calls.c.teacher_id == teacher_id, *UNDER_WAY)
            .group_by(runs.c.host, runs.c.pid)
        ).all()
    return [f"process {pid} on {host.split('/')[0]} ({count} calls)" for host, pid, count in rows]


def _live(db: sa.Connection, teacher_id: int, by_key: Mapping[Key, Request]) -> dict[Request, sa.Row]:
    """The live calls (id, sample, view, state) of requests."""
    return dict(find(db, teacher_id, by_key, (calls.c.id, calls.c.state), is_live))


def _move(db: sa.Connection, ids: Sequence[int], before: Sequence[str], run: int, **values: object) -> int:
    where = (calls.c.id.in_(ids), calls.c.run_id == run, calls.c.state.in_(before))
    return db.execute(calls.update().where(*where).values(**values)).rowcount

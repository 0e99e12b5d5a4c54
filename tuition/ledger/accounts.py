"""Teachers' accounts: opening one, the status of all, their calls, settling the unknown ones, and whether the books are right."""

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tuition.errors import UserError
from tuition.ledger import blocks, identities
from tuition.ledger.calls import REFUNDED
from tuition.ledger.database import Ledger
from tuition.ledger.keys import CHUNK, Request, is_clean, is_further, key_of
from tuition.ledger.schema import LIVE, OPEN, calls, is_live, is_open, parts, rejected, runs, teachers
from tuition.ledger.schema import identities as named
from tuition.ledger.spending import (
    Amount,
    Bound,
    Caps,
    book,
    day_of,
    from_json,
    period_start,
    spent_since,
    to_json,
    to_micros,
    today,
    unbook,
)


def open_account(ledger: Ledger, fingerprint: str, name: str, description: dict[str, Any], caps: Caps | None) -> int:
    """The id of the teacher with this fingerprint, made when new; its name and caps become those given (None: stay as they are)."""
    values = {"name": name} | ({} if caps is None else {"caps": to_json(caps)})
    with ledger.write() as db:
        id = db.scalar(sa.select(teachers.c.id).where(teachers.c.fingerprint == fingerprint))
        if id is not None:
            db.execute(teachers.update().where(teachers.c.id == id).values(**values))
            return id
        text = json.dumps(description, sort_keys=True)
        row = {"fingerprint": fingerprint, "description": text, **values}
        return db.scalar(teachers.insert().values(**row).returning(teachers.c.id))  # type: ignore[return-value]


def move(ledger: Ledger, teacher_id: int, place: str | None) -> tuple[str, int] | None:
    """Note that a teacher is asked at `place` from now on (None: it has none). Returns where it was asked before and how many of its
    answers are owned; None where that is no news."""
    if place is None:
        return None
    with ledger.write() as db:
        if place == (before := db.scalar(sa.select(teachers.c.place).where(teachers.c.id == teacher_id))):
            return None
        db.execute(teachers.update().where(teachers.c.id == teacher_id).values(place=place))
        done = (calls.c.teacher_id == teacher_id, calls.c.state == "done", calls.c.usable)
        owned = db.scalar(sa.select(sa.func.count()).where(*done)) or 0
    return (before, owned) if before and owned else None


def find(ledger: Ledger, fingerprint: str | None) -> sa.Row:
    """The teacher whose fingerprint starts so; without one, the only teacher. Raises UserError listing what there is."""
    with ledger.read() as db:
        rows = db.execute(sa.select(teachers).order_by(teachers.c.id)).all()
    hits = [row for row in rows if row.fingerprint.startswith(fingerprint or "")]
    if len(hits) == 1:
        return hits[0]
    found = f"{len(hits)} teachers match {fingerprint!r}" if fingerprint else f"it holds {len(hits)} teachers"
    listed = "; ".join(f"{row.fingerprint[:12]} {row.name}" for row in rows) or "none"
    raise UserError(
        f"ledger {ledger.place}: {found}, expected one: give --teacher with a fingerprint or its beginning. Teachers: {listed}"
    )


def matching(ledger: Ledger, fingerprint: str | None) -> list[sa.Row]:
    """The teacher whose fingerprint starts so; without one, all teachers. Raises UserError as `find` does."""
    if fingerprint:
        return [find(ledger, fingerprint)]
    with ledger.read() as db:
        return list(db.execute(sa.select(teachers).order_by(teachers.c.id)))


def status(ledger: Ledger) -> list[dict[str, Any]]:
    """One dict a teacher: fingerprint, name, caps, calls by state, tokens, cost, and samples with usable outputs.

    `reserved` counts the calls that are under way, those already sent among them. `cost` and `tokens` are of the calls that are answered;
    `held` is the most that the others may come to, the unknown ones among them. `period` is what this day, week or month has seen.
    """
    kind = sa.case((is_clean, "clean"), (is_further, "further"), else_="view")
    sums = (
        sa.func.count().label("number"),
        sa.func.sum(calls.c.cost).label("cost"),
        sa.func.sum(calls.c.tokens).label("tokens"),
    )
    columns = (calls.c.teacher_id, calls.c.state, kind.label("kind"), calls.c.usable)
    with ledger.read() as db:
        rows = db.execute(sa.select(*columns, *sums).group_by(*columns)).all()
        known = db.execute(sa.select(teachers).order_by(teachers.c.id)).all()
        return [_status(db, teacher, [row for row in rows if row.teacher_id == teacher.id]) for teacher in known]


def _status(db: sa.Connection, teacher: sa.Row, rows: Sequence[sa.Row]) -> dict[str, Any]:
    """One teacher's, of the sums of its calls by state, kind and whether they can be used."""
    number = {state: sum(row.number for row in rows if row.state == state) for state in ("refunded", *LIVE)}
    samples = sum(row.number for row in rows if row.usable and row.kind == "clean")
    if any(row.kind == "view" for row in rows):  # several views of a sample
        chosen = sa.select(sa.func.count(sa.distinct(calls.c.sample)))
        samples = db.scalar(chosen.where(calls.c.teacher_id == teacher.id, calls.c.usable, ~is_further)) or 0
    done, held = ([row for row in rows if (row.state == "done") is ended] for ended in (True, False))
    caps = from_json(teacher.caps)
    seen = spent_since(db, teacher.id, period_start(today(), caps.every))
    return {
        "fingerprint": teacher.fingerprint,
        "name": teacher.name,
        "cap": caps.life.calls,
        "caps": _caps(caps),
        "calls": {
            "done": number["done"],
            "refunded": number["refunded"],
            "unknown": number["unknown"],
            "reserved": number["reserved"] + number["sent"],
        },
        **_bill(done),
        "held": _bill(held),
        "period": {"every": caps.every, **_amount(seen)},
        "samples": samples,
        "answered_by": [{**vars(one), "calls": number} for one, number in identities.counted(db, teacher.id)],
        "unlisted_tokens": identities.unlisted(db, teacher.id)[1],
    }


def _bill(rows: Sequence[sa.Row]) -> dict[str, float]:
    """What calls come to: tokens, and money."""
    return {
        "tokens": int(sum(row.tokens for row in rows)),
        "cost": int(sum(row.cost for row in rows)) / 1_000_000,
    }


def _amount(amount: Amount | Bound) -> dict[str, float | None]:
    return {
        "calls": amount.calls,
        "tokens": amount.tokens,
        "money": None if amount.cost is None else amount.cost / 1_000_000,
    }


def _caps(caps: Caps) -> dict[str, Any]:
    return {**_amount(caps.life), "period": {"every": caps.every, **_amount(caps.period)}}


def listed(
    ledger: Ledger, teacher_id: int, states: Sequence[str] = (), usable: bool | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """A teacher's calls, the latest first: id, sample, view, state, key, tokens, cost, times (seconds since 1970), detail, run, and the
    model, version and backend that its answer names (None: it names none).

    `usable` says whether an answer can be used (None: not answered), `resent` whether it was sent once more; `view` is as it is stored
    (`keys`). Of these `states` alone, where any are given; `usable` False: those that are done without a usable answer.
    """
    where = [calls.c.teacher_id == teacher_id, *([calls.c.state.in_(states)] if states else [])]
    if states and set(states) <= set(OPEN):
        where.append(is_open)
    if usable is False:
        where += [calls.c.state == "done", sa.not_(calls.c.usable)]
    columns = [
        column for column in calls.c if column.name not in ("teacher_id", "block_id", "place", "run_id", "identity_id")
    ]
    of_identity = [sa.func.nullif(named.c[name], "").label(name) for name in identities.NAMES]
    joined = calls.outerjoin(runs, runs.c.id == calls.c.run_id).outerjoin(named, named.c.id == calls.c.identity_id)
    chosen = sa.select(*columns, runs.c.host, runs.c.pid, *of_identity).select_from(joined)
    with ledger.read() as db:
        mark = db.scalar(sa.select(teachers.c.fingerprint).where(teachers.c.id == teacher_id))
        rows = db.execute(chosen.where(*where).order_by(calls.c.id.desc()).limit(limit)).all()
    return [
        {
            **row._mapping,
            "sample": row.sample.hex(),
            "key": key_of(str(mark), Request.of(row.sample.hex(), row.view)),
            "cost": row.cost / 1_000_000,
            "host": row.host.split("/")[0] if row.host else None,
        }
        for row in rows
    ]


def reasons(ledger: Ledger, call_ids: Sequence[int]) -> Counter[str]:
    """Why these calls ended as they did, and how many for each reason."""
    found: Counter[str] = Counter()
    with ledger.read() as db:
        for start in range(0, len(call_ids), CHUNK):
            some = calls.c.id.in_(call_ids[start : start + CHUNK])
            found.update(detail or "no reason given" for (detail,) in db.execute(sa.select(calls.c.detail).where(some)))
    return found


def rejected_answer(ledger: Ledger, call_id: int) -> tuple[str, bytes]:
    """Why a call's answer cannot be used, and the answer as it came. Raises UserError where there is none."""
    with ledger.read() as db:
        row = db.execute(sa.select(rejected).where(rejected.c.call_id == call_id)).one_or_none()
    if row is None:
        raise UserError(
            f"ledger {ledger.place}: call {call_id} has no rejected answer; see `tuition ledger calls --malformed`"
        )
    return row.reason, bytes(row.payload)


def resolve(
    ledger: Ledger, teacher_id: int, charged: bool, cost: float | None = None, ids: Sequence[int] | None = None
) -> int:
    """Settle unknown calls (all, or those with these ids) as the provider's bill says; returns how many. `give_back` does the same of
    calls with malformed answers.

    `charged`: they were processed and the answers are lost; they stay spent, at `cost` each, where that is None at the most that they may
    have come to. Otherwise they are refunded, and the samples may be bought again.
    """
    if cost is not None and not (math.isfinite(cost) and cost >= 0):
        raise UserError(f"--cost: found {cost}, expected money a call")
    where = [calls.c.teacher_id == teacher_id, is_open, calls.c.state == "unknown"]
    if ids is not None:
        where.append(calls.c.id.in_(ids))
    now = int(time.time())
    with ledger.write() as db:
        if not charged:
            hit = unbook(db, where)
            why = {"ended_at": now, "detail": "resolved: not charged"}
            db.execute(calls.update().where(*where).values(REFUNDED | why))
            return hit
        values: dict[str, Any] = {"ended_at": now, "detail": "lost: charged, its answer never came"}
        rows = db.execute(sa.select(calls).where(*where)).all()
        if cost is not None:
            for row in rows:
                book(db, teacher_id, row.run_id, {day_of(row.reserved_at): Amount(0, 0, to_micros(cost) - row.cost)})
            values["cost"] = to_micros(cost)
        db.execute(calls.update().where(*where).values(state="done", usable=False, **values))
        return len(rows)


def give_back(ledger: Ledger, teacher_id: int, ids: Sequence[int] | None = None) -> int:
    """Refund calls with malformed answers (all, or those with these ids), which the provider did not charge; returns how many.

    The samples may be bought again. The answers stay for inspection. A call that an older Tuition made, which did not keep its day, goes on
    counting in the period in which it was made.
    """
    where = [calls.c.teacher_id == teacher_id, calls.c.state == "done", sa.not_(calls.c.usable)]
    where.append(calls.c.id.in_(sa.select(rejected.c.call_id)))
    if ids is not None:
        where.append(calls.c.id.in_(ids))
    with ledger.write() as db:
        hit = unbook(db, where)
        why = {
            "ended_at": int(time.time()),
            "detail": "resolved: malformed, not charged",
            "usable": None,
            "unlisted_tokens": None,
        }
        db.execute(calls.update().where(*where).values(REFUNDED | why))
        return hit


def verify(ledger: Ledger) -> list[str]:
    """What is wrong in the books: counters against calls, done calls without an output, outputs that do not match their checksums."""
    wrong = []
    with ledger.read() as db:
        sums = (sa.func.count(), sa.func.sum(calls.c.tokens), sa.func.sum(calls.c.cost))
        live = {
            row[0]: row[1:]
            for row in db.execute(sa.select(calls.c.teacher_id, *sums).where(is_live).group_by(calls.c.teacher_id))
        }
        for teacher in db.execute(sa.select(teachers)).all():
            found = tuple(int(value or 0) for value in live.get(teacher.id, (0, 0, 0)))
            counted = (teacher.spent, teacher.spent_tokens, teacher.spent_cost)
            for unit, one, other in zip(("calls", "tokens", "millionths"), found, counted, strict=True):
                if one != other:
                    wrong.append(f"{teacher.name}: live calls come to {one} {unit}, but {other} are counted as spent")
        done = (calls.c.state == "done", calls.c.usable)
        of_block = sa.select(calls.c.block_id, sa.func.count()).where(*done).group_by(calls.c.block_id)
        stored = set(db.scalars(sa.select(parts.c.block_id).distinct()))
        bare = sum(count for block, count in db.execute(of_block) if block not in stored)
        if bare:
            wrong.append(f"{bare} calls are done without an output")
        damaged = [f"{signal} of {sample[:16]}" for signal, sample in _damaged(db)]
        if damaged:
            wrong.append(
                f"{len(damaged)} outputs do not match their checksums ({', '.join(damaged[:3])}{', …' if len(damaged) > 3 else ''}); "
                "`tuition ledger import` of an export mends them"
            )
    return wrong


def _damaged(db: sa.Connection) -> list[tuple[str, str]]:
    """(signal, content id) of outputs that are not as they were stored. Only theirs are looked up: a million ids take long to read."""
    found = [(part.block, place, part.signal) for part, places in blocks.damaged(db) for place in places]
    samples = {}
    for start in range(0, len(found), blocks.CHUNK):
        of_blocks = calls.c.block_id.in_({block for block, _, _ in found[start : start + blocks.CHUNK]})
        for row in db.execute(sa.select(calls.c.block_id, calls.c.place, calls.c.sample).where(of_blocks)):
            samples[row.block_id, row.place] = row.sample.hex()
    return [(signal, samples[block, place]) for block, place, signal in found if (block, place) in samples]

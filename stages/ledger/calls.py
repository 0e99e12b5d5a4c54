"""The life of a call: reserved → sent → done | refunded | unknown, each step one transaction.

Order is everything. A call is counted against every cap *before* it is sent, and its outputs are committed in the
transaction that calls it done, so a process may die at any line and the books are right.
"""

import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import sqlalchemy as sa

from stages.errors import UserError
from stages.ledger.database import Ledger
from stages.ledger.schema import LIVE, calls, outputs, rejected, runs, teachers

SILENT_SECONDS = 900  # a run on another machine that has not been heard of for so long is taken for dead
CHUNK = 5_000  # values in one IN list
AGAIN = "sent again"
CLEAN = "clean"  # the view that is no augmentation


class CapReached(UserError):
    """A cap would be exceeded; nothing was reserved."""


@dataclass(frozen=True)
class Call:
    """One reserved call: `id` in the ledger, the sample's content id (hex), and the idempotency key to send."""

    id: int
    sample: str
    key: str
    again: bool = False  # sent once already, its fate unknown: not a new call


@dataclass(frozen=True)
class Answer:
    """What came back for one call: an array per signal, or the reason why it is malformed and the answer as bytes."""

    signals: dict[str, np.ndarray]
    malformed: str | None = None
    raw: bytes = b""


def start_run(ledger: Ledger, teacher_id: int, budget: int) -> int:
    """Open a run of this process that may make `budget` calls; returns its id. Calls of dead runs are settled first."""
    with ledger.write() as db:
        _settle_dead(db, teacher_id)
        row = {"teacher_id": teacher_id, "host": _host(), "pid": os.getpid(), "process_started": _started(os.getpid())}
        return db.scalar(
            runs.insert().values(**row, heartbeat=time.time(), budget=budget, spent=0).returning(runs.c.id)
        )  # type: ignore[return-value]


def reserve(
    ledger: Ledger, run: int, samples: Sequence[str], *, view: str = CLEAN, resend: bool = False, cap: int | None = None
) -> list[Call]:
    """Reserve a call for each of `samples` (content ids) that has no live call, atomically against every cap.

    With `resend`, calls left unknown are taken over under their old key: the same call, counted once. Samples in the hands
    of a live process are left out, so the list may be shorter than `samples`. Raises CapReached, reserving nothing.
    """
    wanted = list(dict.fromkeys(samples))
    with ledger.write() as db:
        state = db.execute(sa.select(runs).where(runs.c.id == run)).one()
        # Locks the teacher on a database server; SQLite's write lock is held already.
        teacher = db.execute(sa.select(teachers).where(teachers.c.id == state.teacher_id).with_for_update()).one()
        live = {row.sample.hex(): row for row in _live(db, teacher.id, wanted, view)}
        again = [row for row in live.values() if resend and row.state == "unknown"]
        new = [sample for sample in wanted if sample not in live]
        # The caller's own cap as well: another process may have opened the account with a higher one since.
        allowed = min((one for one in (cap, teacher.cap) if one is not None), default=None)
        if allowed is not None and new and teacher.spent + len(new) > allowed:
            raise CapReached(
                f"teacher.cap: {teacher.name!r} has {teacher.spent} calls spent of {allowed} in its life; "
                f"{len(new)} more do not fit. Raise teacher.cap or lower study.budgets"
            )
        if state.spent + len(new) + len(again) > state.budget:
            raise CapReached(
                f"this run may make {state.budget} calls and has made {state.spent}; {len(new)} more do not fit"
            )
        db.execute(teachers.update().where(teachers.c.id == teacher.id).values(spent=teachers.c.spent + len(new)))
        db.execute(
            runs.update()
            .where(runs.c.id == run)
            .values(spent=runs.c.spent + len(new) + len(again), heartbeat=time.time())
        )
        reserved = []
        if again:
            ids = [row.id for row in again]
            db.execute(calls.update().where(calls.c.id.in_(ids)).values(state="reserved", run_id=run, detail=AGAIN))
            reserved += [Call(row.id, row.sample.hex(), row.key, again=True) for row in again]
        if new:
            rows = [
                {"teacher_id": teacher.id, "sample": bytes.fromhex(sample), "view": view, "state": "reserved",
                 "run_id": run, "key": key_of(teacher.fingerprint, sample, view), "reserved_at": time.time()}
                for sample in new
            ]  # fmt: skip
            db.execute(calls.insert(), rows)  # in one go, and the ids read after: a RETURNING would go row by row
            found = _live(db, teacher.id, new, view)
            reserved += [Call(row.id, row.sample.hex(), row.key) for row in found]
    order = {sample: place for place, sample in enumerate(wanted)}
    return sorted(reserved, key=lambda call: order[call.sample])


def mark_sent(ledger: Ledger, run: int, made: Sequence[Call]) -> None:
    """Record, before they leave, that these calls are sent: from here on they count as spent until something is known."""
    with ledger.write() as db:
        hit = _move(db, [call.id for call in made], ("reserved",), run, state="sent", sent_at=time.time())
        if hit != len(made):  # the lease was lost: another process took this one for dead
            raise UserError(f"{len(made) - hit} of {len(made)} calls are no longer this run's; run again")


def finish(ledger: Ledger, run: int, made: Sequence[Call], answers: Sequence[Answer], cost: float) -> None:
    """Commit the answers and the charge (`cost` a call) together. A malformed answer is charged and kept aside."""
    good, bad, now = [], [], time.time()
    types: dict[tuple, str] = {}  # the same for all answers, and slow to put together
    for call, answer in zip(made, answers, strict=True):
        if answer.malformed:
            bad.append({"call_id": call.id, "reason": answer.malformed, "payload": answer.raw})
            continue
        for signal, value in answer.signals.items():
            payload = value.tobytes()
            if (value.dtype, value.shape) not in types:
                types[value.dtype, value.shape] = type_of(value)
            type = types[value.dtype, value.shape]
            good.append(
                {"call_id": call.id, "signal": signal, "type": type, "payload": payload, "checksum": checksum(payload)}
            )
    charge = to_micros(cost)
    with ledger.write() as db:
        # Whoever holds the call by now: an answer that arrives after this process was taken for dead is still an answer,
        # and one that another process has brought meanwhile stays as it is.
        where = (calls.c.id.in_([call.id for call in made]), calls.c.state.in_(("reserved", "sent", "unknown")))
        mine = set(db.scalars(sa.select(calls.c.id).where(*where)))
        db.execute(calls.update().where(*where).values(state="done", ended_at=now, cost=charge, detail=None))
        good = [row for row in good if row["call_id"] in mine]
        bad = [row for row in bad if row["call_id"] in mine]
        if good:
            db.execute(outputs.insert(), good)
        if bad:
            db.execute(rejected.insert(), bad)
            for row in bad:
                db.execute(
                    calls.update().where(calls.c.id == row["call_id"]).values(detail=f"malformed: {row['reason']}")
                )
        db.execute(runs.update().where(runs.c.id == run).values(heartbeat=now))


def refund(ledger: Ledger, run: int, made: Sequence[Call], reason: str) -> None:
    """Give back calls that were surely not processed (never sent, or refused before processing)."""
    with ledger.write() as db:
        teacher_id = db.scalar(sa.select(runs.c.teacher_id).where(runs.c.id == run))
        ids = [call.id for call in made]
        # Sent again: of its first sending nothing is known still, so it goes on counting as spent.
        mine = (calls.c.id.in_(ids), calls.c.run_id == run, calls.c.state.in_(("reserved", "sent")))
        again = db.execute(
            calls.update().where(*mine, calls.c.detail == AGAIN).values(state="unknown", detail=f"sent again: {reason}")
        ).rowcount
        hit = _move(db, ids, ("reserved", "sent"), run, state="refunded", ended_at=time.time(), detail=reason)
        _uncount(db, teacher_id, hit)
        db.execute(runs.update().where(runs.c.id == run).values(spent=runs.c.spent - hit - again))


def abandon(ledger: Ledger, run: int, made: Sequence[Call], reason: str) -> None:
    """Calls that were sent and whose fate this process cannot tell: they count as spent until resolved."""
    with ledger.write() as db:
        _move(db, [call.id for call in made], ("sent",), run, state="unknown", detail=reason)


def settle(ledger: Ledger, teacher_id: int) -> None:
    """Settle the calls of runs whose process died: never sent → refunded, sent → unknown."""
    with ledger.write() as db:
        _settle_dead(db, teacher_id)


def _settle_dead(db: sa.Connection, teacher_id: int) -> None:
    open_runs = sa.select(runs).where(
        runs.c.id.in_(
            sa.select(calls.c.run_id).where(calls.c.teacher_id == teacher_id, calls.c.state.in_(("reserved", "sent")))
        )
    )
    now = time.time()
    for run in db.execute(open_runs).all():
        if _alive(run, now):
            continue
        mine = (calls.c.run_id == run.id,)
        never = db.execute(
            calls.update().where(*mine, calls.c.state == "reserved", calls.c.sent_at.is_(None))
            .values(state="refunded", ended_at=now, detail="never sent: its process died")
        ).rowcount  # fmt: skip
        _uncount(db, teacher_id, never)
        db.execute(
            calls.update().where(*mine, calls.c.state.in_(("reserved", "sent")))
            .values(state="unknown", detail="its process died between sending and the answer")
        )  # fmt: skip


def _alive(run: sa.Row, now: float) -> bool:
    if run.host != _host():
        return now - run.heartbeat < SILENT_SECONDS
    started = _started(run.pid)
    return started is not None and abs(started - run.process_started) < 1.0


def _started(pid: int) -> float | None:
    """When a process started, in a measure that no change of the clock moves; None where it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if stat.exists():  # Linux: clock ticks since boot
            state, *rest = stat.read_text().rpartition(")")[2].split()
            return None if state == "Z" else float(rest[18])
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


@cache
def _host() -> str:
    """This machine, its boot, and the namespace in which process numbers mean something here."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname(), boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))]
    return "/".join([*parts, os.readlink(space)] if space.is_symlink() else parts)


def holders(ledger: Ledger, teacher_id: int) -> list[str]:
    """Who has calls under way: host, process and number of calls, for people to read."""
    with ledger.read() as db:
        rows = db.execute(
            sa.select(runs.c.host, runs.c.pid, sa.func.count())
            .join(calls, calls.c.run_id == runs.c.id)
            .where(calls.c.teacher_id == teacher_id, calls.c.state.in_(("reserved", "sent")))
            .group_by(runs.c.host, runs.c.pid)
        ).all()
    return [f"process {pid} on {host.split('/')[0]} ({count} calls)" for host, pid, count in rows]


def _live(db: sa.Connection, teacher_id: int, samples: Sequence[str], view: str) -> list[sa.Row]:
    found: list[sa.Row] = []
    for part in parts(samples):
        found += db.execute(
            sa.select(calls.c.id, calls.c.sample, calls.c.state, calls.c.key).where(
                calls.c.teacher_id == teacher_id,
                calls.c.view == view,
                calls.c.sample.in_(part),
                calls.c.state.in_(LIVE),
            )
        ).all()
    return found


def _move(db: sa.Connection, ids: Sequence[int], before: Sequence[str], run: int, **values: object) -> int:
    where = (calls.c.id.in_(ids), calls.c.run_id == run, calls.c.state.in_(before))
    return db.execute(calls.update().where(*where).values(**values)).rowcount


def _uncount(db: sa.Connection, teacher_id: int | None, number: int) -> None:
    db.execute(teachers.update().where(teachers.c.id == teacher_id).values(spent=teachers.c.spent - number))


def key_of(fingerprint: str, sample: str, view: str) -> str:
    return hashlib.sha256(f"{fingerprint}/{sample}/{view}".encode()).hexdigest()[:32]


def parts(samples: Sequence[str]) -> Iterator[list[bytes]]:
    """Content ids as they are stored, in lists that fit one query."""
    for start in range(0, len(samples), CHUNK):
        yield [bytes.fromhex(sample) for sample in samples[start : start + CHUNK]]


def type_of(value: np.ndarray) -> str:
    """An array's type and shape as text, such as `float32[10]`."""
    return f"{value.dtype.name}{list(value.shape)}"


def checksum(payload: bytes) -> bytes:
    """Eight bytes of BLAKE2b over a stored output."""
    return hashlib.blake2b(payload, digest_size=8).digest()


def to_micros(money: float) -> int:
    """Money as whole millionths: sums stay exact."""
    return round(money * 1_000_000)

"""Teachers' accounts: opening one, the status of all, and settling the calls that were left unknown."""

import json
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from stages.errors import UserError
from stages.ledger.calls import checksum
from stages.ledger.database import Ledger
from stages.ledger.schema import calls, outputs, teachers


def open_account(ledger: Ledger, fingerprint: str, name: str, description: dict[str, Any], cap: int | None) -> int:
    """The id of the teacher with this fingerprint, made when new; its name and lifetime cap become those given."""
    values = {"name": name, "cap": cap}
    with ledger.write() as db:
        id = db.scalar(sa.select(teachers.c.id).where(teachers.c.fingerprint == fingerprint))
        if id is not None:
            db.execute(teachers.update().where(teachers.c.id == id).values(**values))
            return id
        text = json.dumps(description, sort_keys=True)
        row = {"fingerprint": fingerprint, "description": text, "spent": 0, **values}
        return db.scalar(teachers.insert().values(**row).returning(teachers.c.id))  # type: ignore[return-value]


def find(ledger: Ledger, fingerprint: str | None) -> sa.Row:
    """The teacher whose fingerprint starts so; without one, the only teacher. Raises UserError listing what there is."""
    with ledger.read() as db:
        rows = db.execute(sa.select(teachers).order_by(teachers.c.id)).all()
    hits = [row for row in rows if row.fingerprint.startswith(fingerprint or "")]
    if len(hits) == 1:
        return hits[0]
    listed = "; ".join(f"{row.fingerprint[:12]} {row.name}" for row in rows) or "none"
    raise UserError(f"ledger {ledger.place}: {len(hits)} teachers match {fingerprint!r}. Teachers: {listed}")


def status(ledger: Ledger) -> list[dict[str, Any]]:
    """One dict a teacher: fingerprint, name, cap, calls by state, cost, and samples with usable outputs.

    `reserved` counts the calls that are under way, those already sent among them.
    """
    with ledger.read() as db:
        counted = db.execute(
            sa.select(calls.c.teacher_id, calls.c.state, sa.func.count(), sa.func.sum(calls.c.cost))
            .group_by(calls.c.teacher_id, calls.c.state)
        ).all()  # fmt: skip
        usable = (
            sa.select(calls.c.teacher_id, sa.func.count(sa.distinct(calls.c.sample)).label("samples"))
            .where(calls.c.state == "done", calls.c.detail.is_(None))
            .group_by(calls.c.teacher_id)
        )
        owned = {row.teacher_id: row.samples for row in db.execute(usable)}
        accounts = []
        for teacher in db.execute(sa.select(teachers).order_by(teachers.c.id)):
            number = {state: count for id, state, count, _ in counted if id == teacher.id}
            accounts.append({
                "fingerprint": teacher.fingerprint,
                "name": teacher.name,
                "cap": teacher.cap,
                "calls": {
                    "done": number.get("done", 0),
                    "refunded": number.get("refunded", 0),
                    "unknown": number.get("unknown", 0),
                    "reserved": number.get("reserved", 0) + number.get("sent", 0),
                },
                "cost": sum(int(cost or 0) for id, state, _, cost in counted if id == teacher.id) / 1_000_000,
                "samples": owned.get(teacher.id, 0),
            })  # fmt: skip
    return accounts


def unknown_calls(ledger: Ledger, teacher_id: int) -> list[dict[str, Any]]:
    """The calls whose fate is unknown: id, sample, view, key, when sent (seconds since 1970), why."""
    columns = (calls.c.id, calls.c.sample, calls.c.view, calls.c.key, calls.c.sent_at, calls.c.detail)
    with ledger.read() as db:
        rows = db.execute(sa.select(*columns).where(calls.c.teacher_id == teacher_id, calls.c.state == "unknown"))
        return [{**row._mapping, "sample": row.sample.hex()} for row in rows]


def resolve(ledger: Ledger, teacher_id: int, charged: bool, cost: float, ids: Sequence[int] | None = None) -> int:
    """Settle unknown calls (all, or those with these ids) as the provider's bill says; returns how many.

    `charged`: they were processed and the answers are lost; they stay spent, at `cost` each. Otherwise they are refunded,
    and the samples may be bought again.
    """
    where = [calls.c.teacher_id == teacher_id, calls.c.state == "unknown"]
    if ids:
        where.append(calls.c.id.in_(ids))
    values: dict[str, Any] = {"state": "refunded", "detail": "resolved: not charged"}
    if charged:
        values = {"state": "done", "detail": "lost: charged, its answer never came", "cost": round(cost * 1_000_000)}
    with ledger.write() as db:
        hit = db.execute(calls.update().where(*where).values(ended_at=time.time(), **values)).rowcount
        if not charged:
            db.execute(teachers.update().where(teachers.c.id == teacher_id).values(spent=teachers.c.spent - hit))
    return hit


def audit(ledger: Ledger) -> list[str]:
    """What is wrong in the books: the spent counters against the calls, and done calls without an output, damaged outputs."""
    wrong = []
    with ledger.read() as db:
        for teacher in db.execute(sa.select(teachers)).all():
            live = db.scalar(
                sa.select(sa.func.count()).where(calls.c.teacher_id == teacher.id, calls.c.state != "refunded")
            )
            if live != teacher.spent:
                wrong.append(f"{teacher.name}: {live} live calls, but {teacher.spent} counted as spent")
        has = sa.exists().where(outputs.c.call_id == calls.c.id)
        bare = db.scalar(sa.select(sa.func.count()).where(calls.c.state == "done", calls.c.detail.is_(None), ~has))
        rows = db.execute(sa.select(outputs.c.payload, outputs.c.checksum))
        damaged = sum(checksum(row.payload) != row.checksum for row in rows)
        if damaged:
            wrong.append(
                f"{damaged} outputs do not match their checksums; `tuition ledger import` of an export mends them"
            )
        if bare:
            wrong.append(f"{bare} calls are done without an output")
    return wrong

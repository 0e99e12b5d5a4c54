"""What is owned: which samples, in which state, and the values."""

import re
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from stages.ledger.calls import CLEAN, checksum, parts
from stages.ledger.database import Ledger, LedgerError
from stages.ledger.schema import LIVE, calls, outputs

_TYPE = re.compile(r"(\w+)\[([\d, ]*)\]")


def states(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> dict[str, str]:
    """The state of each sample's live call: {content id: reserved | sent | unknown | owned | unusable}; others are absent.

    `owned`: the outputs are here. `unusable`: charged, but the answer was malformed or lost.
    """
    found = {}
    with ledger.read() as db:
        for part in parts(samples):
            live = calls.c.state.in_(LIVE)
            where = (calls.c.teacher_id == teacher_id, calls.c.view == view, calls.c.sample.in_(part), live)
            for row in db.execute(sa.select(calls.c.sample, calls.c.state, calls.c.detail).where(*where)):
                done = "unusable" if row.detail else "owned"
                found[row.sample.hex()] = done if row.state == "done" else row.state
    return found


def read(
    ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The owned outputs of `samples` (distinct content ids), in their order, without those that have none.

    Returns (places (n,) int64 into `samples`, {signal: (n, …)}, costs (n,) int64 in millionths). Raises LedgerError where
    a stored output does not match its checksum.
    """
    place = {sample: i for i, sample in enumerate(samples)}
    values: dict[str, dict[int, np.ndarray]] = {}
    cost: dict[int, int] = {}
    with ledger.read() as db:
        for part in parts(samples):
            rows = db.execute(
                sa.select(
                    calls.c.sample,
                    calls.c.cost,
                    outputs.c.signal,
                    outputs.c.type,
                    outputs.c.payload,
                    outputs.c.checksum,
                )
                .join(outputs, outputs.c.call_id == calls.c.id)
                .where(
                    calls.c.teacher_id == teacher_id,
                    calls.c.view == view,
                    calls.c.sample.in_(part),
                    calls.c.state == "done",
                )
            )
            for row in rows:
                sample = row.sample.hex()
                if checksum(row.payload) != row.checksum:
                    raise LedgerError(
                        f"ledger {ledger.place}: {row.signal!r} of sample {sample} is damaged (its checksum differs)"
                    )
                values.setdefault(row.signal, {})[place[sample]] = _array(row.type, row.payload)
                cost[place[sample]] = row.cost
    whole = [i for i in sorted(cost) if all(i in held for held in values.values())]
    arrays = {signal: np.stack([held[i] for i in whole]) for signal, held in sorted(values.items()) if whole}
    return np.array(whole, dtype=np.int64), arrays, np.array([cost[i] for i in whole], dtype=np.int64)


def cost(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> float:
    """What the live calls for `samples` cost together, those whose answers cannot be used among them."""
    total = 0
    with ledger.read() as db:
        for part in parts(samples):
            where = (
                calls.c.teacher_id == teacher_id,
                calls.c.view == view,
                calls.c.sample.in_(part),
                calls.c.state.in_(LIVE),
            )
            total += db.scalar(sa.select(sa.func.coalesce(sa.func.sum(calls.c.cost), 0)).where(*where)) or 0
    return int(total) / 1_000_000


def _array(type: str, payload: bytes) -> np.ndarray:
    match = _TYPE.fullmatch(type)
    assert match, type
    shape = [int(n) for n in match[2].split(",") if n.strip()]
    return np.frombuffer(payload, dtype=match[1]).reshape(shape)

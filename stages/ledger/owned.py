"""What is owned: which samples, in which state, and the values.

A sample's outputs may come from several calls: one for its view (`clean`), and a further one for each set of signals that was asked
for later, under the view `clean+<signals>`, so that it too is one call that is paid once.
"""

from collections.abc import Collection, Sequence

import numpy as np
import sqlalchemy as sa

from stages.ledger import blocks
from stages.ledger.calls import CLEAN, parts
from stages.ledger.database import Ledger, LedgerError
from stages.ledger.schema import LIVE, calls
from stages.ledger.schema import parts as block_parts


def further(view: str, signals: Collection[str]) -> str:
    """The view under which `signals` are bought of samples that are owned without them."""
    return f"{view}+{','.join(sorted(signals))}"


def with_further(view: str) -> sa.ColumnElement[bool]:
    """`view` and what was bought further of it."""
    return sa.or_(calls.c.view == view, calls.c.view.startswith(f"{view}+", autoescape=True))


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


def signals(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> dict[str, set[str]]:
    """The signals that are owned of each sample, whatever call brought them: {content id: names}; others are absent."""
    found: dict[str, set[str]] = {}
    where = [calls.c.teacher_id == teacher_id, with_further(view), calls.c.state == "done"]
    with ledger.read() as db:
        for part in parts(samples):
            chosen = sa.select(calls.c.sample, block_parts.c.signal).join(
                block_parts, block_parts.c.block_id == calls.c.block_id
            )
            for row in db.execute(chosen.where(*where, calls.c.sample.in_(part))):
                found.setdefault(row.sample.hex(), set()).add(row.signal)
    return found


def read(
    ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN, signals: Collection[str] | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The owned outputs of `samples` (distinct content ids), in their order, without those that lack one of `signals`.

    `signals` None stands for all that any of them has. Returns (places (n,) int64 into `samples`, {signal: (n, …)}, costs (n,)
    int64 in millionths). Raises LedgerError where a stored output does not match its checksum.
    """
    place = {sample: i for i, sample in enumerate(samples)}
    values: dict[str, dict[int, np.ndarray]] = {signal: {} for signal in signals or ()}
    cost: dict[int, dict[int, int]] = {}  # by sample and call
    where = [
        calls.c.teacher_id == teacher_id,
        with_further(view),
        calls.c.state == "done",
        calls.c.block_id.is_not(None),
    ]
    columns = (calls.c.id, calls.c.sample, calls.c.cost, calls.c.block_id, calls.c.place)
    with ledger.read() as db:
        for some in parts(samples):
            held: dict[int, list[sa.Row]] = {}  # by block
            for row in db.execute(sa.select(*columns).where(*where, calls.c.sample.in_(some))):
                held.setdefault(row.block_id, []).append(row)
            for part in blocks.read(db, held, signals):
                for row in held[part.block]:
                    if not part.is_whole(row.place):
                        raise LedgerError(
                            f"ledger {ledger.place}: {part.signal!r} of sample {row.sample.hex()} is damaged (its checksum differs)"
                        )
                    at = place[row.sample.hex()]
                    values.setdefault(part.signal, {})[at] = part.value(row.place)
                    cost.setdefault(at, {})[row.id] = row.cost
    whole = [i for i in sorted(cost) if all(i in held for held in values.values())]
    arrays = {signal: np.stack([held[i] for i in whole]) for signal, held in sorted(values.items()) if whole}
    return (
        np.array(whole, dtype=np.int64),
        arrays,
        np.array([int(sum(cost[i].values())) for i in whole], dtype=np.int64),
    )


def cost(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> float:
    """What the live calls for `samples` cost together, those whose answers cannot be used among them."""
    total = 0
    with ledger.read() as db:
        for part in parts(samples):
            where = (
                calls.c.teacher_id == teacher_id,
                with_further(view),
                calls.c.sample.in_(part),
                calls.c.state.in_(LIVE),
            )
            total += db.scalar(sa.select(sa.func.coalesce(sa.func.sum(calls.c.cost), 0)).where(*where)) or 0
    return int(total) / 1_000_000


def further_calls(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> int:
    """How many live calls there are for further signals of `samples`."""
    number = 0
    with ledger.read() as db:
        for part in parts(samples):
            where = (
                calls.c.teacher_id == teacher_id,
                with_further(view),
                calls.c.view != view,
                calls.c.state.in_(LIVE),
            )
            number += db.scalar(sa.select(sa.func.count()).where(*where, calls.c.sample.in_(part))) or 0
    return number

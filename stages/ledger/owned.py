"""What is owned: which samples, in which state, and the values.

A sample's outputs may come from several calls: one for its view (`clean`), and a further one for each set of signals that was asked
for later, under the view `clean+<signals>`, so that it too is one call that is paid once.
"""

import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import sqlalchemy as sa

from stages.ledger.calls import CLEAN, checksum, parts
from stages.ledger.database import Ledger, LedgerError
from stages.ledger.schema import LIVE, calls, outputs

_TYPE = re.compile(r"(\w+)\[([\d, ]*)\]")


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
    for row in _rows(ledger, teacher_id, samples, view, calls.c.sample, outputs.c.signal):
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
    columns = (
        calls.c.id, calls.c.sample, calls.c.cost, outputs.c.signal, outputs.c.type, outputs.c.payload, outputs.c.checksum,
    )  # fmt: skip
    for row in _rows(ledger, teacher_id, samples, view, *columns, signals=signals):
        sample = row.sample.hex()
        if checksum(row.payload) != row.checksum:
            raise LedgerError(
                f"ledger {ledger.place}: {row.signal!r} of sample {sample} is damaged (its checksum differs)"
            )
        values.setdefault(row.signal, {})[place[sample]] = _array(row.type, row.payload)
        cost.setdefault(place[sample], {})[row.id] = row.cost
    whole = [i for i in sorted(cost) if all(i in held for held in values.values())]
    arrays = {signal: np.stack([held[i] for i in whole]) for signal, held in sorted(values.items()) if whole}
    return np.array(whole, dtype=np.int64), arrays, np.array([sum(cost[i].values()) for i in whole], dtype=np.int64)


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


def _rows(
    ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str, *columns: sa.Column,
    signals: Collection[str] | None = None,
) -> Iterator[sa.Row]:  # fmt: skip
    """One row an owned output, of these columns of calls and outputs."""
    where = [calls.c.teacher_id == teacher_id, with_further(view), calls.c.state == "done"]
    if signals is not None:
        where.append(outputs.c.signal.in_(signals))
    with ledger.read() as db:
        for part in parts(samples):
            chosen = sa.select(*columns).join(outputs, outputs.c.call_id == calls.c.id)
            yield from db.execute(chosen.where(*where, calls.c.sample.in_(part)))


def _array(type: str, payload: bytes) -> np.ndarray:
    match = _TYPE.fullmatch(type)
    assert match, type
    shape = [int(n) for n in match[2].split(",") if n.strip()]
    return np.frombuffer(payload, dtype=match[1]).reshape(shape)

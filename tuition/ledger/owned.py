"""What is owned: how requests stand, and the values of their outputs.

The outputs of a request may come from several calls: its own, and a further one for each set of signals that was asked for later
(`Request.further`), so that it too is one call that is paid once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import sqlalchemy as sa

from tuition.ledger import blocks
from tuition.ledger.database import Ledger, LedgerError
from tuition.ledger.keys import CHUNK, Request, find_all, keyed
from tuition.ledger.schema import calls, is_live
from tuition.ledger.schema import parts as block_parts

State = Literal["reserved", "sent", "unknown", "owned", "unusable"]
NOTHING: frozenset[str] = frozenset()


class Position(NamedTuple):
    """How one request stands.

    `state` of its live call: `owned` where its outputs are here, `unusable` where it was charged and the answer was malformed or lost;
    None: it has no live call. `call`: that call's number, which grows with time; `reserved_at`: seconds since 1970, None where it is
    done. `signals`: what is owned, whatever call brought it. `cost`: millionths, of all its live calls, `further` of which were for
    further signals.
    """

    state: State | None = None
    call: int = 0
    reserved_at: int | None = None
    signals: frozenset[str] = NOTHING
    cost: int = 0
    further: int = 0


ABSENT = Position()


@dataclass(frozen=True)
class Standing:
    """How requests stood when the ledger was read. Requests without any live call have no position."""

    positions: Mapping[Request, Position] = field(default_factory=dict)

    def position(self, request: Request) -> Position:
        """How one request stands."""
        return self.positions.get(request, ABSENT)

    def state(self, request: Request) -> State | None:
        """The state of a request's live call; None where it has none."""
        return self.position(request).state

    def states(self, requests: Iterable[Request]) -> dict[Request, State]:
        """The states of those of `requests` that have a live call."""
        return {one: state for one in requests if (state := self.state(one)) is not None}

    def signals(self, request: Request) -> frozenset[str]:
        """The names of the signals that are owned of a request, whatever call brought them."""
        return self.position(request).signals

    def cost(self, requests: Iterable[Request]) -> float:
        """What the live calls for `requests` cost together, those whose answers cannot be used among them; money.

        `requests` are distinct, and none is further of another: a request's calls for further signals are counted with it.
        """
        return sum(self.position(one).cost for one in requests) / 1_000_000

    def further_calls(self, requests: Iterable[Request]) -> int:
        """How many live calls there are for further signals of `requests` (distinct)."""
        return sum(self.position(one).further for one in requests)


def standing(ledger: Ledger, teacher_id: int, requests: Sequence[Request]) -> Standing:
    """How `requests` stand with a teacher, all at one moment."""
    columns = (calls.c.id, calls.c.state, calls.c.usable, calls.c.reserved_at, calls.c.cost, calls.c.block_id)
    positions: dict[Request, Position] = {}
    with ledger.read() as db:
        rows = list(find_all(db, teacher_id, keyed(requests), columns, is_live))
        signals_of = _signals(db, {row.block_id for _, row, _ in rows if row.state == "done"} - {None})
    for request, (_, _, id, state, usable, reserved_at, cost, block_id), is_further in rows:
        names = signals_of.get(block_id, NOTHING) if state == "done" else NOTHING
        before = positions.get(request)
        further = 0
        if before is not None:  # calls for further signals, or what they add to
            names, cost, further = names | before.signals, cost + before.cost, before.further
        if is_further:
            positions[request] = (before or ABSENT)._replace(signals=names, cost=int(cost), further=further + 1)
        else:
            now: State = state if state != "done" else "owned" if usable else "unusable"
            positions[request] = Position(now, id, reserved_at, names, int(cost), further)
    return Standing(positions)


def _signals(db: sa.Connection, block_ids: Collection[int]) -> dict[int, frozenset[str]]:
    """The names of the signals of each block."""
    names: dict[int, list[str]] = {}
    ordered = sorted(block_ids)
    for start in range(0, len(ordered), CHUNK):
        some = block_parts.c.block_id.in_(ordered[start : start + CHUNK])
        for row in db.execute(sa.select(block_parts.c.block_id, block_parts.c.signal).where(some)):
            names.setdefault(row.block_id, []).append(row.signal)
    shared: dict[frozenset[str], frozenset[str]] = {}  # most blocks have the same ones
    return {block: shared.setdefault(one := frozenset(some), one) for block, some in names.items()}


def read(
    ledger: Ledger, teacher_id: int, requests: Sequence[Request], signals: Collection[str] | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The owned outputs of `requests` (distinct), in their order, without those that lack one of `signals`.

    `signals` None stands for all that any of them has. Returns (places (n,) int64 into `requests`, {signal: (n, …)}, costs (n,)
    int64 in millionths). Raises LedgerError where a stored output does not match its checksum.
    """
    place = {request: i for i, request in enumerate(requests)}
    values: dict[str, dict[int, np.ndarray]] = {signal: {} for signal in signals or ()}
    cost: dict[int, dict[int, int]] = {}  # by request and call
    columns = (calls.c.id, calls.c.cost, calls.c.block_id, calls.c.place)
    done = (is_live, calls.c.state == "done", calls.c.block_id.is_not(None))
    with ledger.read() as db:
        held: dict[int, list[tuple[Request, sa.Row]]] = {}  # by block
        for request, row, _ in find_all(db, teacher_id, keyed(requests), columns, *done):
            held.setdefault(row.block_id, []).append((request, row))
        for part in blocks.read(db, held, signals):
            for request, row in held[part.block]:
                if not part.is_whole(row.place):
                    raise LedgerError(
                        f"ledger {ledger.place}: {part.signal!r} of sample {request} is damaged (its checksum differs)"
                    )
                values.setdefault(part.signal, {})[place[request]] = part.value(row.place)
                cost.setdefault(place[request], {})[row.id] = row.cost
    whole = [i for i in sorted(cost) if all(i in held for held in values.values())]
    arrays = {signal: np.stack([held[i] for i in whole]) for signal, held in sorted(values.items()) if whole}
    return (
        np.array(whole, dtype=np.int64),
        arrays,
        np.array([int(sum(cost[i].values())) for i in whole], dtype=np.int64),
    )

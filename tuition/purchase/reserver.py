"""Reserving the next calls of a purchase in the order of purchase, within every bound.

Many requests to a server are reserved in one transaction, before they have their turn. A teacher in this process is asked for one
batch after another: each is reserved and marked as sent together, so that none waits for its turn in the ledger.
"""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.ledger import calls
from tuition.ledger.calls import Call
from tuition.ledger.database import Ledger
from tuition.ledger.keys import Request
from tuition.ledger.spending import Amount, CapReached
from tuition.purchase.account import Account, counts, of_tokens, worst
from tuition.purchase.others import Others
from tuition.purchase.tally import Tally
from tuition.purchase.writer import MOST_CALLS, Writer, to_the_end

AHEAD = 2  # requests that are reserved for each one under way: one transaction reserves many
LEAST_RESERVED = 16  # requests
SPARE_BYTES = 4 << 20

InputsOf = Callable[[Sequence[Request]], np.ndarray]  # B requests → inputs (B, …), as samples are stored


@dataclass(frozen=True)
class Batch:
    """Calls that go to the teacher as one request. `inputs`: where they were read before; the calls are then marked as sent."""

    calls: list[Call]
    inputs: np.ndarray | None = None


class Reserver:
    """Calls for `todo`, reserved in turn. `full`: no bound has room for more until a request under way has ended."""

    def __init__(self, account: Account, writer: Writer, tally: Tally, inputs_of: InputsOf):
        self.account, self.writer, self.tally, self.inputs_of = account, writer, tally, inputs_of
        self.others = Others(account, writer)
        self.todo: deque[Request] = deque()
        self.full = False
        self._reserved: deque[Call] = deque()
        self._inputs: np.ndarray | None = None  # of those, where they were read before

    def __len__(self) -> int:
        """How many calls are reserved."""
        return len(self._reserved)

    def wants_more(self, room: bool) -> bool:
        """Whether it is time to reserve more; `room`: the teacher could be asked at once."""
        if not self.todo or self.full:
            return False
        if self.account.teacher.in_process:
            return room and not self._reserved
        return len(self._reserved) <= self._calls_of(1)

    def next_batch(self) -> Batch:
        """The next request."""
        number = min(self.account.settings.batch_size, len(self._reserved))
        inputs, self._inputs = self._inputs, None
        return Batch([self._reserved.popleft() for _ in range(number)], inputs)

    def give_up(self) -> list[Call]:
        """What was reserved and had no turn."""
        left, self._reserved = list(self._reserved), deque()
        return left

    async def reserve(self, under_way: Callable[[], bool]) -> None:
        """Reserve the next calls; where a bound leaves no room for now, that is tried again when some that are under way have ended."""
        at_once = self.account.teacher.in_process
        number = min(len(self.todo), self.account.settings.batch_size if at_once else self._calls_of(AHEAD))
        batch = [self.todo.popleft() for _ in range(number)]
        try:
            check_room(self.account.ledger, self.tally.row_bytes * number)
            counted = counts(self.account)
            # Read before: a read error then costs nothing.
            inputs = await shown(self.inputs_of, batch) if at_once or counted else None
            amounts = await self._amounts(batch, inputs) if counted and inputs is not None else None
            made = await to_the_end(self._take(batch, inputs if at_once else None, amounts))
        except CapReached as reached:
            self.todo.extendleft(reversed(batch))
            if self._reserved or (reached.waits and under_way()):  # what there was room for leaves first
                self.full = True
            elif not reached.waits:
                self.tally.stop(reached)
            else:  # it is other processes that hold what may come free
                await self.others.wait(f"room ({reached}): some is held")
        else:
            # The others did not fit, or are in other hands: where all are, the purchase looks again when the rest is bought.
            taken = {call.request for call in made}
            self.todo.extendleft(reversed([one for one in batch if one not in taken] if made else []))

    def _calls_of(self, rounds: int) -> int:
        """The calls in so many requests for each that may be at the teacher, as far as one transaction bears them."""
        size, at_the_teacher = self.account.settings.batch_size, self.account.teacher.max_in_flight
        return size * min(max(rounds * at_the_teacher, rounds * LEAST_RESERVED // AHEAD), max(1, MOST_CALLS // size))

    async def _amounts(self, batch: Sequence[Request], inputs: np.ndarray) -> dict[Request, Amount]:
        """The most that each call may come to; counted in a thread, since texts may be long and many."""
        tokens = await asyncio.to_thread(self.account.teacher.most_tokens, inputs)
        settings = self.account.settings
        return {one: of_tokens(settings, into, out) for one, (into, out) in zip(batch, tokens, strict=True)}

    async def _take(
        self, batch: Sequence[Request], inputs: np.ndarray | None, amounts: Mapping[Request, Amount] | None
    ) -> list[Call]:
        made = await self.writer.call(self._write, batch, inputs is not None, amounts)
        self._reserved.extend(made)
        if inputs is not None and len(made) < len(batch):
            places = {request: place for place, request in enumerate(batch)}
            inputs = inputs[[places[call.request] for call in made]]
        self._inputs = inputs
        return made

    def _write(self, batch: Sequence[Request], sent: bool, amounts: Mapping[Request, Amount] | None) -> list[Call]:
        account, most = self.account, worst(self.account.settings)
        with account.ledger.write():
            made = calls.reserve(
                account.ledger,
                account.run,
                batch,
                resend=account.teacher.idempotent,
                caps=account.caps,
                tokens=most.tokens,
                cost=most.cost,
                amounts=amounts,
                partial=True,
            )
            if made and sent:
                calls.mark_sent(account.ledger, account.run, made)
        return made


async def shown(inputs_of: InputsOf, requests: Sequence[Request]) -> np.ndarray:
    """What the teacher is shown for requests; in a thread where files are read for it, so that others go on meanwhile."""
    if getattr(inputs_of, "reads_files", False):
        return await asyncio.to_thread(inputs_of, requests)
    return inputs_of(requests)


def check_room(ledger: Ledger, payload: int) -> None:
    """Refuse to send what could not be stored: three times the payload, for the outputs, their log and the index."""
    path = Path(ledger.place)
    if not path.exists():  # a database server
        return
    free, needed = shutil.disk_usage(path.parent).free, 3 * payload + SPARE_BYTES
    if free < needed:
        raise UserError(
            f"ledger {path}: {free >> 20} MiB of disk left there, {(needed >> 20) + 1} needed for the next answers; nothing was sent"
        )

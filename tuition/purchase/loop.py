"""The purchase: many requests under way, whatever the teacher is, and each one's fate known to the ledger.

Reserved in the order of purchase, marked as sent before it leaves, owned, refunded or left unknown when it ends. Whatever ends the
purchase, what is under way is waited for, and what never left is given back.

A teacher that is idempotent does not wait for the disk: an answer is stored while the next request is under way, and where a commit
takes long beside an answer, requests that will leave meanwhile are marked as sent before there is room for them; of a process that is
killed then they are sent again under their keys. Another teacher's would count as spent, so they are not.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from tuition.ledger import owned
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.purchase import interrupts
from tuition.purchase.account import Account
from tuition.purchase.exchange import Exchange
from tuition.purchase.plausible.watch import Watch
from tuition.purchase.reserver import InputsOf, Reserver
from tuition.purchase.tally import Progress, Tally
from tuition.purchase.writer import Writer, to_the_end

GRACE_SECONDS = 10.0  # after Ctrl-C or SIGTERM, for answers that are on their way


@dataclass(frozen=True)
class Outcome:
    """What a purchase came to: how many new calls it took, and whether other processes brought some of it."""

    new: int = 0
    by_others: bool = False


def outstanding(
    account: Account, requests: Sequence[Request], standing: Standing
) -> tuple[list[Request], list[Request]]:
    """(to be bought or sent again, in the hands of another process), both in the order of `requests`."""
    states = standing.states(requests)
    again = account.teacher.idempotent
    todo = [one for one in requests if one not in states or (again and states[one] == "unknown")]
    return todo, [one for one in requests if states.get(one) in ("reserved", "sent")]


def buy(
    account: Account,
    requests: Sequence[Request],
    standing: Standing,
    inputs_of: InputsOf,
    progress: Progress,
    signals: Sequence[str] | None = None,
    before: Sequence[Request] = (),
) -> Outcome:
    """Own the outputs of `requests`, in their order; `standing` is how they stood last. All of the teacher's signals, or only `signals`.

    Sends `settings.canary` calls first, the first of them alone, and stops where one of them is malformed; stops later where the
    malformed exceed `settings.max_malformed`, and whenever answers are not plausible, those to `before`, which are owned, among
    them. Waits for samples that another process is buying. Ctrl-C and SIGTERM wait some seconds for answers on their way; a second
    one does not. Raises UserError naming what was found, CapReached where a bound leaves no room; whatever was
    answered by then is owned.
    """
    todo, elsewhere = outstanding(account, requests, standing)
    if not todo and not elsewhere:
        return Outcome()  # then the teacher need not be there
    watch = Watch(account, before)
    if stop := watch.stops():
        raise stop
    return interrupts.run(
        _buy(account, todo, elsewhere, inputs_of, progress, tuple(signals or account.teacher.signals), watch)
    )


async def _buy(
    account: Account,
    todo: list[Request],
    elsewhere: list[Request],
    inputs_of: InputsOf,
    progress: Progress,
    signals: tuple[str, ...],
    watch: Watch,
) -> Outcome:
    async with account.teacher, Writer(account.ledger, account.run) as writer:
        tally = Tally(account.settings, len(todo) + len(elsewhere))
        reserver = Reserver(account, writer, tally, inputs_of)
        exchange = Exchange(account, writer, tally, inputs_of, progress, signals, watch)
        by_others = await Purchase(account, writer, reserver, exchange).run(todo, elsewhere)
        return Outcome(tally.new, by_others)


class Purchase:
    """The purchase of one list of requests."""

    def __init__(self, account: Account, writer: Writer, reserver: Reserver, exchange: Exchange):
        self.account, self.writer, self.reserver, self.exchange = account, writer, reserver, exchange
        self.tally, self.others = exchange.tally, reserver.others
        self.under_way: set[asyncio.Task[None]] = set()
        self.unanswered = 0  # of the requests under way; the answers of the others are being stored
        self.reserving: asyncio.Task[None] | None = None
        self.changed = asyncio.Event()  # there may be room for another request

    async def run(self, todo: list[Request], elsewhere: list[Request]) -> bool:
        """Buy until every request is owned, charged or unknown; returns whether other processes brought some."""
        by_others = False
        while todo or elsewhere:
            self.tally.left = len(todo)
            if not todo:
                await self.others.wait(f"{len(elsewhere)} samples that are being bought")
            open_requests = [*todo, *elsewhere]
            while todo:
                first = self.tally.together or self.exchange.watch.holds() or len(todo)
                await self._buy(todo[:first])
                todo = todo[first:]
            open_requests = [one for one in open_requests if one not in self.exchange.settled]
            if not open_requests:
                break
            standing = await self.writer.call(owned.standing, self.account.ledger, self.account.id, open_requests)
            todo, elsewhere = outstanding(self.account, open_requests, standing)
            by_others = by_others or len(todo) + len(elsewhere) < len(open_requests)
        return by_others

    async def _buy(self, requests: Sequence[Request]) -> None:
        """Buy these; raises what stopped it, when all that was under way has ended."""
        self.reserver.todo.extend(requests)
        try:
            while self._goes_on() and not self.tally.stopped:
                self.changed.clear()
                while len(self.reserver) and self._has_room():
                    self._launch()
                if not self.reserving and self.reserver.wants_more(self._has_room()):
                    self.reserving = self._task(self.reserver.reserve(lambda: bool(self.under_way)))
                await self.changed.wait()
        except asyncio.CancelledError:
            await self._end(GRACE_SECONDS)
            raise
        except Exception as error:
            self.tally.stop(error)
        await self._end(None)
        if self.tally.stopped:
            raise self.tally.stopped

    def _goes_on(self) -> bool:
        return bool(self.reserver.todo or self.reserving or len(self.reserver) or self.under_way)

    def _has_room(self) -> bool:
        return self.unanswered < self.account.teacher.max_in_flight + self.exchange.ahead

    def _launch(self) -> None:
        """Begin one more request."""
        self.unanswered += 1
        self.under_way.add(self._task(self.exchange.run(self.reserver.next_batch(), self._freed)))

    def _freed(self) -> None:
        self.unanswered -= 1
        self.changed.set()

    def _task(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self.reserving:
            self.reserving = None
        else:
            self.under_way.discard(task)
            self.reserver.full = False
        self.changed.set()
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.tally.stop(error)  # of the ledger: it says what to do

    async def _end(self, seconds: float | None) -> None:
        """Wait for what is under way, at most so long; give back what never left. An interruption shortens the wait, and no more."""
        cancelled = None
        for most in (seconds, GRACE_SECONDS, 0) if seconds is None else (seconds, 0):
            try:
                if self.under_way:
                    await asyncio.wait(self.under_way, timeout=most)
                break
            except asyncio.CancelledError as error:
                cancelled = error
        await to_the_end(self._give_back())
        if cancelled:
            raise cancelled

    async def _give_back(self) -> None:
        late = [*self.under_way, *([self.reserving] if self.reserving else [])]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self.writer.refund(self.reserver.give_up(), "never sent")

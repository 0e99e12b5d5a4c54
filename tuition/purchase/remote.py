"""Buying from a teacher that is asked over the network: many requests under way, each one's fate known to the ledger.

Reserved in the order of purchase, marked as sent before it leaves, owned, refunded or left unknown when it ends: the same life as
under `buy`, for `teacher.max_in_flight` requests at a time.

A fast teacher that is idempotent does not wait for the disk: an answer is stored while the next request is under way, and where a commit
takes long beside an answer, requests that will leave meanwhile are marked as sent before there is room for them; of a process that is
killed then they are sent again under their keys. Another teacher's would count as spent, so they are not.
"""

import asyncio
import math
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from tuition.errors import UserError
from tuition.ledger import calls
from tuition.ledger.calls import CLEAN, Answer, Call
from tuition.ledger.spending import CapReached
from tuition.purchase import answers as checks
from tuition.purchase import interrupts
from tuition.purchase.account import Account, real, rests_on_tokens, worst
from tuition.purchase.buy import POLL_SECONDS, ImagesOf, Progress, Tally, check_room, outstanding, plain, say_waiting
from tuition.purchase.mean import Mean
from tuition.purchase.writer import MOST_CALLS, Clerk, to_the_end
from tuition.teachers.protocol import Refused, Reply, Stop, Uncertain

GRACE_SECONDS = 10  # after Ctrl-C or SIGTERM, for answers that are on their way
AHEAD = 2  # requests that are reserved for each one under way: one transaction reserves many
LEAST_RESERVED = 16  # requests
SLOW = 0.05  # of the time of an answer: where marking a request as sent takes less, it waits until there is room
MOST_RAW = 1 << 20  # bytes of a malformed answer that are kept


def buy(
    account: Account,
    ids: Sequence[str],
    images_of: ImagesOf,
    progress: Progress,
    view: str = CLEAN,
    signals: Sequence[str] | None = None,
) -> int:
    """As `buy.buy`, from an `HttpTeacher`. Ctrl-C and SIGTERM wait some seconds for answers on their way; a second one does not."""
    if not any(outstanding(account, ids, view)):
        return 0  # then the server need not be there
    return interrupts.run(_bought(account, ids, images_of, progress, view, signals))


async def _bought(account: Account, *args: Any) -> int:
    async with account.teacher, Clerk(account.ledger, account.run) as clerk:
        return await _Purchase(account, clerk, *args).whole()


class _Purchase:
    """The purchase of one list of samples under one view."""

    def __init__(
        self,
        account: Account,
        clerk: Clerk,
        ids: Sequence[str],
        images_of: ImagesOf,
        progress: Progress,
        view: str,
        signals: Sequence[str] | None,
    ):
        self.account, self.clerk, self.ids, self.images_of = account, clerk, ids, images_of
        self.progress, self.view, self.signals = progress, view, signals or account.teacher.signals
        self.settings, self.most = account.settings, worst(account.settings)
        self.tally = Tally(account.settings, len(ids))
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.under_way: set[asyncio.Task] = set()
        self.places = asyncio.Semaphore(self.settings.max_in_flight)  # at the teacher
        self.unanswered = 0  # of the requests under way; the answers of the others are being stored
        self.changed = asyncio.Event()  # there may be room for another request
        self.marking, self.answering = Mean(), Mean()
        self.reserved: deque[Call] = deque()
        self.reserving: asyncio.Task | None = None
        self.full = False  # no bound has room for more until one of the requests under way has ended
        self.left = len(ids)
        self.stop: Exception | None = None  # why nothing more is sent
        self.waiting = False  # for other processes, which was said

    async def whole(self) -> int:
        """Buy until every sample is owned, charged or unknown; returns how many new calls that took."""
        while True:
            todo, elsewhere = await self.clerk.ask(outstanding, self.account, self.ids, self.view)
            self.left = len(todo)
            if not todo and not elsewhere:
                return self.tally.new
            if todo:
                first = self.settings.canary - self.tally.sent if self.tally.canary else len(todo)
                await self._some(deque(todo[:first]))
                continue
            await self._wait(f"{len(elsewhere)} samples that are being bought")

    async def _wait(self, what: str) -> None:
        """For other processes, which end what they hold or die."""
        if not self.waiting:
            await self.clerk.ask(say_waiting, self.account, what)
        self.waiting = True
        await asyncio.sleep(POLL_SECONDS)
        await self.clerk.ask(calls.settle, self.account.ledger, self.account.id)

    async def _some(self, todo: deque[str]) -> None:
        """Buy `todo`; raises what stopped it, when all that was under way has ended."""
        try:
            while (todo or self.reserving or self.reserved or self.under_way) and not self.stop:
                self.changed.clear()
                if todo and not (self.reserving or self.full) and len(self.reserved) <= self._calls_of(1):
                    self.reserving = self._task(self._reserve(todo))
                while self.reserved and self.unanswered < self.settings.max_in_flight + self._ahead():
                    self._launch()
                await self.changed.wait()
        except asyncio.CancelledError:
            await self._end(GRACE_SECONDS)
            raise
        except Exception as error:
            self._stop(error)
        await self._end(None)
        if self.stop:
            raise self.stop

    def _launch(self) -> None:
        """Begin one more request."""
        made = [self.reserved.popleft() for _ in range(min(self.settings.batch_size, len(self.reserved)))]
        self.unanswered += 1
        self.under_way.add(self._task(self._one(made)))

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task) -> None:
        if task is self.reserving:
            self.reserving = None
        else:
            self.under_way.discard(task)
            self.full = False
        self.changed.set()
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._stop(error)  # of the ledger: it says what to do

    def _calls_of(self, rounds: int) -> int:
        """The calls in so many requests for each that may be at the teacher, as far as one transaction bears them."""
        size = self.settings.batch_size
        return size * min(
            max(rounds * self.settings.max_in_flight, rounds * LEAST_RESERVED // AHEAD), max(1, MOST_CALLS // size)
        )

    def _ahead(self) -> int:
        """How many requests are marked as sent before there is room for them: as many as leave while that is written."""
        marking, answering, most = self.marking.value, self.answering.value, self.settings.max_in_flight
        if not self.account.teacher.idempotent or not answering or marking <= SLOW * answering:
            return 0
        return min(most, math.ceil(most * marking / answering))

    async def _reserve(self, todo: deque[str]) -> None:
        """Reserve the next calls; where a bound leaves no room for now, that is tried again when some have ended."""
        number = min(len(todo), self._calls_of(AHEAD))
        batch = [todo.popleft() for _ in range(number)]
        try:
            check_room(self.account.ledger, self.tally.row_bytes * number)
            made = await to_the_end(self._take(batch))
        except CapReached as reached:
            todo.extendleft(reversed(batch))
            if self.reserved or (reached.waits and self.under_way):  # what there was room for leaves first
                self.full = True
            elif not reached.waits:
                self._stop(reached)
            else:  # it is other processes that hold what may come free
                await self._wait(f"room ({reached}): some is held")
        else:
            taken = {call.sample for call in made}  # the others did not fit, or are in other hands: `whole` looks again
            todo.extendleft(reversed([one for one in batch if one not in taken][: number if made else 0]))

    async def _take(self, batch: Sequence[str]) -> list[Call]:
        made = await self.clerk.ask(
            calls.reserve,
            self.account.ledger,
            self.account.run,
            batch,
            view=self.view,
            resend=self.account.teacher.idempotent,
            caps=self.account.caps,
            tokens=self.most.tokens,
            cost=self.most.cost,
            partial=True,
        )
        self.reserved.extend(made)
        return made

    async def _one(self, made: list[Call]) -> None:
        """One request with all its attempts, from before it leaves to its last entry in the ledger."""
        async with AsyncExitStack() as held:  # its place at the teacher, and among the unanswered
            held.callback(self._freed)
            await self._ask(made, held)

    def _freed(self) -> None:
        self.unanswered -= 1
        self.changed.set()

    async def _ask(self, made: list[Call], held: AsyncExitStack) -> None:
        clerk, teacher, left = self.clerk, self.account.teacher, False
        try:
            images = self.images_of([call.sample for call in made])
            with self.marking.timed():
                await clerk.sent(made)
            await held.enter_async_context(self.places)
            if self.stop:
                return await clerk.refund(made, "never sent")
            left = True
            with self.answering.timed():
                reply = await teacher.answer(images, [call.key for call in made])
        # What stops the purchase is told before anything is waited for, so that no other request leaves meanwhile.
        except Refused as error:
            told = f"teacher {self.settings.name!r} refused for {self.settings.patience:g} s ({error}). Run again later"
            self._stop(UserError(told))
            await clerk.refund(made, f"refused: {error}")
        except Stop as error:
            self._stop(error)
            await clerk.refund(made, str(error))
        except Uncertain as error:
            if error.stop:
                self._stop(error.stop)
            self._count(made, len(made), str(error))
            await clerk.lose(made, str(error))
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                known = isinstance(error, UserError) or (isinstance(error, Exception) and not left)
                self._stop(error if known else _broken(error, len(made)))  # type: ignore[arg-type]
            await (clerk.lose if left else clerk.refund)(made, f"{type(error).__name__}: {error}")
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if teacher.idempotent:
                await held.aclose()
            # Else its connection rests while it is stored: a second answer that comes late is found out there, where it would
            # else be taken for another call's, and a refusal among them would have that call charged twice.
            await self._own(made, reply)

    async def _own(self, made: list[Call], reply: Reply) -> None:
        """Into the ledger with what was answered: it is paid for."""
        try:
            answers = self._answers(reply, len(made))
            self.tally.measure(answers)
            bad = [answer.malformed for answer in answers if answer.malformed]
            self._count(made, len(bad), bad[0] if bad else None)  # before it is stored: what is bad stops the next one
            await self.clerk.done(made, answers)
        except Exception as error:
            await self.clerk.lose(made, f"its answer could not be stored: {type(error).__name__}: {error}")
            raise
        most, found = self.most.tokens, max(answer.tokens or 0 for answer in answers)
        if found > most and rests_on_tokens(self.settings):
            self._stop(
                UserError(
                    f"teacher.max_tokens_per_call: {most}, but a call took {found} tokens: so much was not held back for it, and "
                    "teacher.cap cannot be kept so. Its answer is in the ledger. Raise teacher.max_tokens_per_call and run again"
                )
            )

    def _answers(self, reply: Reply, count: int) -> list[Answer]:
        """One Answer per call, with its share of what the request came to."""
        if reply.malformed:
            raw = reply.raw if isinstance(reply.raw, bytes) else str(reply.raw).encode(errors="replace")
            answers = checks.unusable(str(reply.malformed), raw[:MOST_RAW], count)
        else:
            scores = self.settings.scores if self.tally.canary else None
            answers = checks.split(reply.signals, count, self.signals, self.account.classes, self.shapes, scores)
        came_to = real(self.settings, count, reply.input_tokens, reply.output_tokens)
        return [
            Answer(one.signals, one.malformed and plain(one.malformed), one.raw, tokens=amount.tokens, cost=amount.cost)
            for one, amount in zip(answers, came_to, strict=True)
        ]

    def _count(self, made: list[Call], bad: int, fault: str | None) -> None:
        self.left -= len(made)
        try:
            self.tally.count(made, bad, fault)
        except UserError as error:
            self._stop(error)
        self.progress(self.tally, max(self.left, 0))

    def _stop(self, error: Exception) -> None:
        self.stop = self.stop or error

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
        never, self.reserved = list(self.reserved), deque()
        await self.clerk.refund(never, "never sent")


def _broken(error: BaseException, number: int) -> UserError:
    return UserError(
        f"teacher failed on {number} calls with {type(error).__name__}: {error}. Whether they were charged is not known: "
        "they count as spent until `tuition ledger resolve`"
    )

"""Buying from a teacher that is asked over the network: many requests under way, each one's fate known to the ledger.

Reserved in the order of purchase, marked as sent before it leaves, owned, refunded or left unknown when it ends: the same life as
under `buy`, for `teacher.max_in_flight` requests at a time.
"""

import asyncio
import signal
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from stages.errors import UserError
from stages.ledger import calls
from stages.ledger.calls import CLEAN, Answer, Call
from stages.ledger.spending import CapReached
from stages.teach import answers as checks
from stages.teach.account import Account, real, worst
from stages.teach.buy import POLL_SECONDS, ImagesOf, Progress, Tally, check_room, outstanding, say_waiting
from stages.teach.clerk import Clerk
from stages.teach.teachers.replies import Refused, Reply, Stop, Uncertain

GRACE_SECONDS = 10  # after Ctrl-C or SIGTERM, for answers that are on their way
AHEAD = 2  # requests that are reserved for each one under way: one transaction reserves many


def buy(
    account: Account, ids: Sequence[str], images_of: ImagesOf, progress: Progress, view: str = CLEAN,
    signals: Sequence[str] | None = None,
) -> int:  # fmt: skip
    """As `buy.buy`, from an `HttpTeacher`. Ctrl-C and SIGTERM wait some seconds for answers that are on their way."""
    return asyncio.run(_interruptible(account, ids, images_of, progress, view, signals))


async def _interruptible(account: Account, *args: Any) -> int:
    came: list[int] = []
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main

    def interrupt(number: int) -> None:
        came.append(number)
        main.cancel()

    if threading.current_thread() is threading.main_thread():  # only there do signals arrive
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt, number)
    try:
        async with account.teacher, Clerk(account.ledger, account.run) as clerk:
            return await _Purchase(account, clerk, *args).whole()
    except asyncio.CancelledError:
        raise (SystemExit(128 + came[0]) if came[:1] == [signal.SIGTERM] else KeyboardInterrupt) from None


class _Purchase:
    """The purchase of one list of samples under one view."""

    def __init__(
        self, account: Account, clerk: Clerk, ids: Sequence[str], images_of: ImagesOf, progress: Progress, view: str,
        signals: Sequence[str] | None,
    ):  # fmt: skip
        self.account, self.clerk, self.ids, self.images_of = account, clerk, ids, images_of
        self.progress, self.view, self.signals = progress, view, signals or account.teacher.signals
        self.settings, self.tally, self.most = (
            account.settings,
            Tally(account.settings, len(ids)),
            worst(account.settings),
        )
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.under_way: set[asyncio.Task] = set()
        self.reserved: deque[Call] = deque()
        self.left = len(ids)
        self.stop: Exception | None = None  # why nothing more is sent

    async def whole(self) -> int:
        """Buy until every sample is owned, charged or unknown; returns how many new calls that took."""
        waiting = False
        while True:
            todo, elsewhere = await self.clerk.ask(outstanding, self.account, self.ids, self.view)
            self.left = len(todo)
            if not todo and not elsewhere:
                return self.tally.new
            if todo:
                first = self.settings.canary - self.tally.sent if self.tally.canary else len(todo)
                await self._some(deque(todo[:first]))
                continue
            if not waiting:
                say_waiting(self.account, len(elsewhere))
                waiting = True
            await asyncio.sleep(POLL_SECONDS)
            await self.clerk.ask(calls.settle, self.account.ledger, self.account.id)

    async def _some(self, todo: deque[str]) -> None:
        """Buy `todo`; raises what stopped it, when all that was under way has ended."""
        try:
            while (todo or self.reserved or self.under_way) and not self.stop:
                while len(self.under_way) < self.settings.max_in_flight and await self._launch(todo):
                    pass
                if self.under_way and not self.stop:
                    await asyncio.wait(self.under_way, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._end(GRACE_SECONDS)
            raise
        await self._end(None)
        if self.stop:
            raise self.stop

    async def _launch(self, todo: deque[str]) -> bool:
        """Send one more request; False where there is nothing to send just now."""
        if not self.reserved and todo and not self.stop:
            await self._reserve(todo)
        if not self.reserved or self.stop:
            return False
        made = [self.reserved.popleft() for _ in range(min(self.settings.batch_size, len(self.reserved)))]
        task = asyncio.create_task(self._one(made))
        self.under_way.add(task)
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task) -> None:
        self.under_way.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._stop(error)  # of the ledger: it says what to do

    async def _reserve(self, todo: deque[str]) -> None:
        """Reserve the next calls; where a bound leaves no room for now, that is tried again when some have ended."""
        number = min(len(todo), self.settings.batch_size * self.settings.max_in_flight * AHEAD)
        batch = [todo.popleft() for _ in range(number)]
        try:
            check_room(self.account.ledger, self.tally.row_bytes * number)
            made = await self.clerk.ask(
                calls.reserve, self.account.ledger, self.account.run, batch, view=self.view,
                resend=self.account.teacher.idempotent, caps=self.account.caps, tokens=self.most.tokens, cost=self.most.cost,
                partial=True,
            )  # fmt: skip
        except CapReached as reached:
            if not reached.waits:
                self.stop = reached
                return
            todo.extendleft(reversed(batch))
            if not self.under_way:  # it is other processes that hold what may come free
                await asyncio.sleep(POLL_SECONDS)
                await self.clerk.ask(calls.settle, self.account.ledger, self.account.id)
        except UserError as error:
            self.stop = error
        else:
            self.reserved.extend(made)
            taken = {call.sample for call in made}  # the others did not fit, or are in other hands: `whole` looks again
            todo.extendleft(reversed([one for one in batch if one not in taken][: number if made else 0]))

    async def _one(self, made: list[Call]) -> None:
        """One request with all its attempts, from before it leaves to its last entry in the ledger."""
        teacher, clerk = self.account.teacher, self.clerk
        left = False
        try:
            images = self.images_of([call.sample for call in made])
            await clerk.sent(made)
            left = True
            reply = await teacher.ask(images, [call.key for call in made])
        except Refused as error:
            await clerk.refund(made, f"refused: {error}")
            self._stop(
                UserError(
                    f"teacher {self.settings.name!r} refused for {self.settings.patience:g} s ({error}). Run again later"
                )
            )
        except Stop as error:
            await clerk.refund(made, str(error))
            self._stop(error)
        except Uncertain as error:
            await clerk.lose(made, str(error))
            if isinstance(error.__cause__, Stop):
                self._stop(error.__cause__)
            self._count(made, len(made), str(error))
        except BaseException as error:
            await (clerk.lose if left else clerk.refund)(made, f"{type(error).__name__}: {error}")
            if isinstance(error, asyncio.CancelledError):
                raise
            self._stop(error if isinstance(error, UserError) else _broken(error, len(made)))
        else:
            answers = self._answers(reply, len(made))
            await clerk.done(made, answers)
            self.tally.measure(answers)
            bad = [answer.malformed for answer in answers if answer.malformed]
            self._count(made, len(bad), bad[0] if bad else None)

    def _answers(self, reply: Reply, count: int) -> list[Answer]:
        """One Answer per call, with its share of what the request came to."""
        if reply.malformed:
            answers = checks.unusable(reply.malformed, reply.raw[:MOST_RAW], count)
        else:
            scores = self.settings.scores if self.tally.canary else None
            answers = checks.split(reply.signals, count, self.signals, self.account.classes, self.shapes, scores)
        into, out = reply.input_tokens, reply.output_tokens
        if into is None and out is None:  # nothing said of tokens: the most that it may have come to
            came_to = [self.most] * count
        else:
            shares = [(_share(into or 0, count, i), _share(out or 0, count, i)) for i in range(count)]
            came_to = [real(self.settings, i + o, i, o) for i, o in shares]
        return [
            Answer(one.signals, one.malformed, one.raw, tokens=amount.tokens, cost=amount.cost)
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
        """Wait for what is under way, at most so long; give back what never left."""
        under_way = set(self.under_way)
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        never, self.reserved = list(self.reserved), deque()
        await self.clerk.refund(never, "never sent")


MOST_RAW = 1 << 20  # bytes of a malformed answer that are kept


def _share(total: int, count: int, i: int) -> int:
    """The i-th of `count` whole shares of `total`."""
    return total // count + (i < total % count)


def _broken(error: BaseException, number: int) -> UserError:
    return UserError(
        f"teacher failed on {number} calls with {type(error).__name__}: {error}. Whether they were charged is not known: "
        "they count as spent until `tuition ledger resolve`"
    )

"""One request with all its attempts, from before it leaves to its last entry in the ledger."""

import asyncio
import math
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from tuition.errors import UserError
from tuition.ledger.calls import Answer, Call
from tuition.ledger.keys import Request
from tuition.purchase import answers as checks
from tuition.purchase.account import Account, real, rests_on_tokens
from tuition.purchase.moving_average import MovingAverage
from tuition.purchase.plausible.watch import Watch
from tuition.purchase.reserver import Batch, InputsOf, shown
from tuition.purchase.tally import Progress, Tally
from tuition.purchase.text import plain
from tuition.purchase.writer import Writer
from tuition.teachers import Refused, Reply, Stop, Uncertain

SLOW = 0.05  # of the time of an answer: where marking a request as sent takes less, it waits until there is room
MOST_RAW = 1 << 20  # bytes of a malformed answer that are kept

LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")
)  # whose lines say little to a user


class Exchange:
    """Asks the teacher for batches, several at a time, and enters what became of them. `settled`: requests that need nothing more.

    `signals` are those that an answer must hold. What stops the purchase is said to `tally` before anything is waited for, so that no
    other request leaves meanwhile.
    """

    def __init__(
        self,
        account: Account,
        writer: Writer,
        tally: Tally,
        inputs_of: InputsOf,
        progress: Progress,
        signals: tuple[str, ...],
        watch: Watch,
    ):
        self.account, self.writer, self.tally = account, writer, tally
        self.inputs_of, self.progress, self.signals, self.watch = inputs_of, progress, signals, watch
        self.places = asyncio.Semaphore(account.teacher.max_in_flight)  # at the teacher
        self.marking, self.answering = MovingAverage(), MovingAverage()
        self.shapes = watch.shapes()  # of the answers, a row
        self.settled: set[Request] = set()

    @property
    def ahead(self) -> int:
        """How many requests are marked as sent before there is room for them: as many as leave while that is written.

        Only of an idempotent teacher, which is asked again for nothing where this process is killed meanwhile.
        """
        marking, answering, most = self.marking.value, self.answering.value, self.account.teacher.max_in_flight
        if not self.account.teacher.idempotent:
            return 0
        if self.account.teacher.in_process:
            return 1
        if not answering or marking <= SLOW * answering:
            return 0
        return min(most, math.ceil(most * marking / answering))

    async def run(self, batch: Batch, freed: Callable[[], None]) -> None:
        """Ask for one batch. `freed` is called when there is room for another one."""
        async with AsyncExitStack() as held:  # its place at the teacher, and among the unanswered
            held.callback(freed)
            await self._ask(batch, held)

    async def _ask(self, batch: Batch, held: AsyncExitStack) -> None:
        made, teacher, left = batch.calls, self.account.teacher, False
        try:
            inputs = batch.inputs
            if inputs is None:
                inputs = await shown(self.inputs_of, [call.request for call in made])
                with self.marking.timed():
                    await self.writer.sent(made)
            await held.enter_async_context(self.places)
            if self.tally.stopped:
                return await self.writer.refund(made, "never sent")
            left = True
            with self.answering.timed():
                reply = await teacher.answer(inputs, [call.key for call in made])
        except BaseException as error:
            await self._fail(made, left, error)
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
        else:
            if teacher.idempotent:
                await held.aclose()
            # Else its connection rests while it is stored: a second answer that comes late is found out there, where it would
            # else be taken for another call's, and a refusal among them would have that call charged twice.
            await self._own(made, reply)

    async def _fail(self, made: list[Call], left: bool, error: BaseException) -> None:
        """Enter what a request came to that brought no answer; `left`: it was on its way."""
        if isinstance(error, Refused):
            self.tally.stop(_refused(self.account, len(made), error))
            await self.writer.refund(made, f"refused: {error}")
        elif isinstance(error, Stop):
            self.tally.stop(error)
            await self.writer.refund(made, str(error))
        elif isinstance(error, Uncertain):
            if error.stop:
                self.tally.stop(error.stop)
            self.tally.lose(made, str(error))
            self.progress(self.tally)
            await self._lose(made, str(error))
        else:
            if not (isinstance(error, asyncio.CancelledError) and _is_cancelled()):
                known = isinstance(error, UserError | KeyboardInterrupt) or (isinstance(error, Exception) and not left)
                self.tally.stop(error if known else _broken(error, len(made)))
            reason = f"{type(error).__name__}: {error}"
            await (self._lose(made, reason) if left else self.writer.refund(made, reason))

    async def _lose(self, made: list[Call], reason: str) -> None:
        await self.writer.lose(made, reason)
        if not self.account.teacher.idempotent:  # else they are asked again
            self.settled.update(call.request for call in made)

    async def _own(self, made: list[Call], reply: Reply) -> None:
        """Into the ledger with what was answered: it is paid for."""
        try:
            answers = self._answers(reply, made)
            self.tally.measure(answers)
            bad = [place for place, answer in enumerate(answers) if answer.malformed]
            fault, first = (answers[bad[0]].malformed, bad[0]) if bad else (None, 0)
            self._count(made, len(bad), fault, first)  # before it is stored: what is bad stops the next one
            if stop := self.watch.see([call.request for call in made], answers):
                self.tally.stop(stop)
            await self.writer.done(made, answers)
            self.settled.update(call.request for call in made)
        except Exception as error:
            await self.writer.lose(made, f"its answer could not be stored: {type(error).__name__}: {error}")
            raise
        if rests_on_tokens(self.account.settings):
            for call, answer in zip(made, answers, strict=True):
                if (answer.tokens or 0) > call.most.tokens or (answer.cost or 0) > call.most.cost:
                    self.tally.stop(_too_long(self.account, call.most.tokens, answer.tokens or 0))

    def _answers(self, reply: Reply, made: list[Call]) -> list[Answer]:
        """One Answer per call, with its share of what the request came to."""
        settings, count = self.account.settings, len(made)
        if reply.malformed:
            answers = checks.unusable(str(reply.malformed), _raw(reply), count)
        else:
            scores = settings.promised_scores if self.tally.canary and "scale" not in settings.unchecked else None
            answers = checks.split(
                reply.signals, count, self.signals, self.account.classes, self.shapes, scores, settings.partial
            )
            for place, (why, raw) in reply.faults.items():
                answers[place] = Answer({}, why, raw[:MOST_RAW])
        amounts = real(settings, [call.most for call in made], reply.input_tokens, reply.output_tokens)
        return [
            Answer(
                self.account.as_owned(one.signals),
                one.malformed and plain(one.malformed),
                one.raw,
                tokens=amount.tokens,
                cost=amount.cost,
                unlisted_tokens=0 if place else reply.unlisted_tokens,  # of the request, with its first call
                identity=reply.identity,
            )
            for place, (one, amount) in enumerate(zip(answers, amounts, strict=True))
        ]

    def _count(self, made: list[Call], bad: int, fault: str | None, first_bad: int = 0) -> None:
        self.tally.count(made, bad, fault, first_bad)
        self.progress(self.tally)


def _raw(reply: Reply) -> bytes:
    """The beginning of a malformed answer as it came."""
    raw = reply.raw if isinstance(reply.raw, bytes) else str(reply.raw).encode(errors="replace")
    return raw[:MOST_RAW]


def _refused(account: Account, number: int, error: Refused) -> UserError:
    if account.teacher.in_process:
        return UserError(
            f"teacher refused {number} calls ({error}); they are refunded, but for those that were sent before and whose fate "
            "is unknown. Run again later"
        )
    settings = account.settings
    return UserError(f"teacher {settings.name!r} refused for {settings.patience:g} s ({error}). Run again later")


def _too_long(account: Account, most: int, used: int) -> UserError:
    if account.teacher.counts_tokens:
        return UserError(
            f"teacher.added_tokens: {most} tokens were held back for a call, question and answer together, but it took {used}, or more of "
            "the dearer ones: teacher.cap cannot be kept so. Its answer is in the ledger. Raise teacher.added_tokens, or name the model's "
            "own teacher.tokenizer, and run again"
        )
    return UserError(
        f"teacher.max_tokens_per_call: {most}, but a call took {used} tokens: so much was not held back for it, and "
        "teacher.cap cannot be kept so. Its answer is in the ledger. Raise teacher.max_tokens_per_call and run again"
    )


def _is_cancelled() -> bool:
    """Whether this task is cancelled; a CancelledError may also be an error of the teacher's code."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _broken(error: BaseException, number: int) -> UserError:
    if isinstance(error, SystemExit):
        return UserError(f"teacher ended the process (sys.exit({error.code})) on {number} calls: they count as spent")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)] or frames
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno}: `{own[-1].line}`)" if own else ""
    return UserError(
        f"teacher failed on {number} calls with {type(error).__name__}: {error}{place}. Whether they were charged is not known: "
        "they count as spent until `tuition ledger resolve`"
    )

"""Writing to the ledger for many requests at once: what comes in while one transaction is under way goes into the next together.

A commit to disk takes about a millisecond, so a commit a request would be the limit of a fast teacher.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, ParamSpec, Self, TypeVar

from tuition.errors import UserError
from tuition.ledger import calls
from tuition.ledger.calls import Answer, Call
from tuition.ledger.database import Ledger, LedgerWaits
from tuition.purchase.text import plain, say

BEAT_SECONDS = 60  # so that no other machine takes a run that waits for its teacher for dead
HOLD_ANSWERS_SECONDS = 600  # how long answers that are in hand wait for the ledger: they are paid for
HOLD_OUTCOMES_SECONDS = 60  # how long word of calls that were not answered waits for it
HOLD_PAUSE = 2  # seconds between two attempts
MOST_CALLS = 5_000  # in one transaction, where requests are not larger
TOGETHER = ("done", "sent")  # in one transaction; what is paid for comes first

T = TypeVar("T")
P = ParamSpec("P")


class Entry(NamedTuple):
    """What one request enters into the ledger; `written` is settled when that is committed, or cannot be."""

    what: str
    made: Sequence[Call]
    answers: Sequence[Answer]
    reason: str
    written: asyncio.Future


class Writer:
    """One writer for one run. Every method returns when its entry is committed, and it will be, even where the caller is cancelled."""

    def __init__(self, ledger: Ledger, run: int):
        self.ledger, self.run = ledger, run
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")  # one transaction at a time
        self.inbox: list[Entry] = []
        self.busy: asyncio.Task | None = None

    async def __aenter__(self) -> Self:
        self.beat = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.beat.cancel()
        try:
            if self.busy:
                await to_the_end(self.busy)
        finally:
            self.thread.shutdown()

    async def call(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call a function of the ledger in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, lambda: function(*args, **options))

    async def sent(self, made: Sequence[Call]) -> None:
        """These calls are about to leave."""
        await self._enter("sent", made)

    async def done(self, made: Sequence[Call], answers: Sequence[Answer]) -> None:
        """These calls were answered and charged."""
        await self._enter("done", made, answers)

    async def refund(self, made: Sequence[Call], reason: str) -> None:
        """These calls were surely not processed."""
        await self._enter("refund", made, reason=reason)

    async def lose(self, made: Sequence[Call], reason: str) -> None:
        """These calls were sent, and nothing is known of them."""
        await self._enter("lose", made, reason=reason)

    async def _enter(self, what: str, made: Sequence[Call], answers: Sequence[Answer] = (), reason: str = "") -> None:
        if not made:
            return
        written = asyncio.get_running_loop().create_future()
        self.inbox.append(Entry(what, made, answers, plain(reason[:500]), written))
        if self.busy is None:
            self.busy = asyncio.create_task(self._work())
        await asyncio.shield(written)  # who is cancelled here still had it written

    async def _work(self) -> None:
        while self.inbox:
            some, self.inbox = self.inbox, []
            for kinds in (TOGETHER, ("refund",), ("lose",)):
                mine = [entry for what in kinds for entry in some if entry.what == what]
                for together in _groups(mine):
                    await self._commit(together)
        self.busy = None

    async def _commit(self, entries: Sequence[Entry]) -> None:
        try:
            await self.call(self._write, entries)
        except Exception as error:
            if len(entries) > 1 and not isinstance(error, LedgerWaits):
                for entry in entries:  # one that cannot be written takes no other with it
                    await self._commit([entry])
                return
            for entry in entries:
                entry.written.set_exception(error)
                entry.written.exception()  # seen, also where nobody waits any more
        else:
            for entry in entries:
                entry.written.set_result(None)

    def _write(self, entries: Sequence[Entry]) -> None:
        """Entries that were done or sent, in one transaction; of refunds or of losses, one a reason."""
        what = entries[0].what
        if what in TOGETHER:
            held = sum(len(entry.made) for entry in entries if entry.what == "done")
            write = partial(self._write_together, entries)
            hold(write, f"{held} paid answers", HOLD_ANSWERS_SECONDS) if held else write()
        else:
            change = calls.refund if what == "refund" else calls.abandon
            for reason in dict.fromkeys(entry.reason for entry in entries):
                mine = [call for entry in entries if entry.reason == reason for call in entry.made]
                write = partial(change, self.ledger, self.run, mine, reason)
                hold(write, f"what became of {len(mine)} calls", HOLD_OUTCOMES_SECONDS)

    def _write_together(self, entries: Sequence[Entry]) -> None:
        done, sent = ([entry for entry in entries if entry.what == what] for what in TOGETHER)
        with self.ledger.write():
            if done:
                answers = [one for entry in done for one in entry.answers]
                calls.finish(self.ledger, self.run, _calls(done), answers)
            if sent:
                calls.mark_sent(self.ledger, self.run, _calls(sent))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.call(calls.beat, self.ledger, self.run, time.time())
            except UserError as error:  # such as a ledger that is locked: the next one may be heard
                say(f"{error}. Trying again in {BEAT_SECONDS} s")


def _calls(entries: Sequence[Entry]) -> list[Call]:
    return [call for entry in entries for call in entry.made]


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Entries in groups of at most MOST_CALLS calls, where none alone has more."""
    group: list[Entry] = []
    held = 0  # calls in it
    for entry in entries:
        if group and held + len(entry.made) > MOST_CALLS:
            yield group
            group, held = [], 0
        group.append(entry)
        held += len(entry.made)
    if group:
        yield group


def hold(write: Callable[[], None], what: str, seconds: float) -> None:
    """Write to the ledger; where it cannot be written just now, try again for so long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return write()
        except LedgerWaits as error:
            left = deadline - time.monotonic()
            if left < 0:
                raise
            say(f"{error}. Holding {what} for {left:.0f} s more")
            time.sleep(HOLD_PAUSE)


async def to_the_end(work: Coroutine[None, None, T] | asyncio.Task[T]) -> T:
    """What `work` returns, also where the caller is cancelled: it is then cancelled when `work` has ended."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        task.cancelled() or task.exception()  # seen
        raise cancelled
    return task.result()

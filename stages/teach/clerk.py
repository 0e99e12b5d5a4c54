"""Writing to the ledger for many requests at once: what comes in while one transaction is under way goes into the next together.

A commit to disk takes about a millisecond, so a commit a request would be the limit of a fast teacher.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from stages.ledger import calls
from stages.ledger.calls import Answer, Call
from stages.ledger.database import Ledger
from stages.teach.buy import own

BEAT_SECONDS = 60  # so that no other machine takes a run that waits for its teacher for dead

T = TypeVar("T")


class Clerk:
    """One writer for one run. Every method returns when what it was told is committed."""

    def __init__(self, ledger: Ledger, run: int):
        self.ledger, self.run = ledger, run
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")  # one transaction at a time
        self.inbox: list[tuple[str, Any, asyncio.Future]] = []
        self.busy: asyncio.Task | None = None

    async def __aenter__(self) -> "Clerk":
        self.beat = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.beat.cancel()
        if self.busy:
            await self.busy
        self.thread.shutdown()

    async def ask(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a function of the ledger in the clerk's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, lambda: function(*args, **options))

    async def sent(self, made: Sequence[Call]) -> None:
        """These calls are about to leave."""
        await self._tell("sent", made)

    async def done(self, made: Sequence[Call], answers: Sequence[Answer]) -> None:
        """These calls were answered and charged."""
        await self._tell("done", list(zip(made, answers, strict=True)))

    async def refund(self, made: Sequence[Call], reason: str) -> None:
        """These calls were surely not processed."""
        await self._tell("refund", [(reason[:500], made)])

    async def lose(self, made: Sequence[Call], reason: str) -> None:
        """These calls were sent, and nothing is known of them."""
        await self._tell("lose", [(reason[:500], made)])

    async def _tell(self, what: str, about: Sequence) -> None:
        if not about:
            return
        written = asyncio.get_running_loop().create_future()
        self.inbox.append((what, about, written))
        if self.busy is None:
            self.busy = asyncio.create_task(self._work())
        await asyncio.shield(written)  # who is cancelled here still had it written

    async def _work(self) -> None:
        while self.inbox:
            some, self.inbox = self.inbox, []
            for what in ("done", "sent", "refund", "lose"):  # what is paid for comes first
                mine = [(about, written) for kind, about, written in some if kind == what]
                if not mine:
                    continue
                try:
                    await self.ask(self._write, what, [one for about, _ in mine for one in about])
                except Exception as error:
                    for _, written in mine:
                        if not written.done():
                            written.set_exception(error)
                            written.exception()  # seen, also where nobody waits any more
                else:
                    for _, written in mine:
                        if not written.done():
                            written.set_result(None)
        self.busy = None

    def _write(self, what: str, about: list) -> None:
        if what == "done":
            own(self.ledger, self.run, [call for call, _ in about], [answer for _, answer in about], 0.0)
        elif what == "sent":
            calls.mark_sent(self.ledger, self.run, about)
        else:
            change = calls.refund if what == "refund" else calls.abandon
            for reason in dict.fromkeys(reason for reason, _ in about):
                change(self.ledger, self.run, [c for why, made in about if why == reason for c in made], reason)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self.ask(calls.beat, self.ledger, self.run, time.time())

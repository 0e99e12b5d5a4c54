"""Requests and tokens a minute: never more than stated in any minute as the server sees it, and at least 0.95 of it where there is work.

Two rules together. A log of what was sent bounds every window: a request waits until the window that ends with it holds at most
the stated number. The windows of the log are 3 % longer than the server's, since two requests may arrive closer together than they
were sent (a new connection, a long body, a busy loop); so a minute bears 1.8 seconds of such jitter and the rate in a steady state is
1/1.03 = 0.97 of the stated one. And an even pace keeps bursts small: the log alone would send a whole minute's requests at once, then
none for a minute, which a server that refills a bucket refuses. The pace is 1/0.9 of the stated rate, so that it never holds back what
the log allows for long; up to 20 ms of lost time are caught up, so that late timers cost nothing at high rates.

Windows are windows of sending times. A process knows what it sent itself: others that use the same account, and the minute before
this process started, are not in its log.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tuition.errors import UserError

MARGIN = 0.03  # of a window, by which the log's windows are longer
PACE = 0.9  # of the even interval between two requests
CATCH_UP = 0.02  # seconds


@dataclass
class Sent:
    """One entry of the log: when it was sent, and the tokens that it may still have used."""

    at: float
    tokens: int
    gap: float = 0.0  # seconds by which it held up the next one
    counted: bool = True


class RateLimit:
    """At most `requests_per_minute` requests and `tokens_per_minute` tokens in any `window` seconds; None: as many as come.

    For one event loop at a time. `clock` gives seconds and never goes back.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        window: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.requests, self.tokens, self.window, self.clock = requests_per_minute, tokens_per_minute, window, clock
        self.span = window * (1 + MARGIN)
        self._log: deque[Sent] = deque()  # oldest first
        self._used = 0  # tokens in the log
        self._usual: float | None = None  # tokens that a request really uses, a running mean
        self._paced = self._resumes = float("-inf")  # before these times nothing is sent
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self, tokens: int = 0) -> Sent:
        """Wait, first come first served, until one more request with up to `tokens` tokens may be sent; send it at once then.

        Returns the log's entry, for `settle`. Raises UserError where so many tokens never fit.
        """
        if self.tokens is not None and tokens > self.tokens:
            raise UserError(
                f"teacher.tokens_per_minute: found {self.tokens}, but one request may use {tokens} tokens; raise it, or lower "
                "teacher.max_tokens_per_call or teacher.batch_size"
            )
        if self.requests is None and self.tokens is None:
            while (wait := self._resumes - self.clock()) > 0:
                await asyncio.sleep(wait)
            return Sent(self.clock(), tokens, counted=False)
        self._bind()
        async with self._turn:
            while (wait := self._wait(tokens)) > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
            return self._enter(tokens)

    def settle(self, reserved: Sent, real: int) -> None:
        """Put the tokens that a request really used in the place of those that `take` reserved for it."""
        if real:
            self._usual = real if self._usual is None else self._usual + (real - self._usual) / 8
        self._paced += self._gap(real) - reserved.gap
        if reserved.counted:
            self._used += real - reserved.tokens
        reserved.tokens, reserved.gap = real, self._gap(real)
        self._wake()

    def pause(self, seconds: float) -> None:
        """Nobody sends for so many seconds from now; a shorter pause does not end a longer one."""
        self._resumes = max(self._resumes, self.clock() + seconds)
        self._wake()

    def _wait(self, tokens: int) -> float:
        """Seconds until one more request with so many tokens may be sent; 0 or less: now."""
        now = self.clock()
        while self._log and self._log[0].at <= now - self.span:
            gone = self._log.popleft()
            gone.counted = False
            self._used -= gone.tokens
        free = max(self._paced, self._resumes)
        if self.requests is not None and len(self._log) >= self.requests:
            free = max(free, self._log[len(self._log) - self.requests].at + self.span)
        if self.tokens is not None:
            over = self._used + tokens - self.tokens
            for sent in self._log:
                if over <= 0:
                    break
                over -= sent.tokens
                free = max(free, sent.at + self.span)
        return free - now

    def _enter(self, tokens: int) -> Sent:
        now = self.clock()
        expected = tokens if self._usual is None else min(tokens, self._usual)  # what is reserved may be far more
        sent = Sent(now, tokens, self._gap(expected))
        self._paced = max(self._paced, now - CATCH_UP) + sent.gap
        self._log.append(sent)
        self._used += tokens
        return sent

    def _gap(self, tokens: float) -> float:
        """Seconds after a request that uses so many tokens until the next one, at an even pace."""
        of_requests = 1 / self.requests if self.requests is not None else 0.0
        of_tokens = tokens / self.tokens if self.tokens else 0.0
        return PACE * self.window * max(of_requests, of_tokens)

    def _bind(self) -> None:
        """The log outlives an event loop, what tasks wait on does not."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._turn, self._changed = loop, asyncio.Lock(), asyncio.Event()

    def _wake(self) -> None:
        if self._loop is not None:
            self._changed.set()

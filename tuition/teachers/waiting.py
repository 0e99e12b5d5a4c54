"""Waiting for a teacher that cannot answer now, and saying so: a purchase that stands still for minutes must not look dead."""

import asyncio
import sys
import time
from contextlib import suppress

QUIET_SECONDS = 5.0  # a call that waits no longer than this is nothing to speak of
BETWEEN_SECONDS = 30.0  # between two lines, whatever number of calls is waiting


class Waiting:
    """The waits of all calls to one teacher, called `name`; `patience`: seconds after which a call gives up."""

    def __init__(self, name: str, patience: float):
        self.name, self.patience = name, patience
        self._last = float("-inf")

    async def wait(self, seconds: float, left: float, why: str) -> None:
        """Wait so many seconds of the `left` ones that the call has patience for, and say now and then why, on stderr."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            patience_left = left - (seconds - rest)
            if rest >= QUIET_SECONDS or self.patience - patience_left >= QUIET_SECONDS:
                self._say(rest, patience_left, why)
            await asyncio.sleep(min(rest, BETWEEN_SECONDS))

    def _say(self, rest: float, left: float, why: str) -> None:
        now = time.monotonic()
        if now - self._last < BETWEEN_SECONDS:
            return
        self._last = now
        text = f"teacher {self.name!r}: waiting, asked again in {rest:.0f} s, given up in {left:.0f} s (teacher.patience): {why}"
        with suppress(OSError, ValueError):  # nobody listens any more
            print(text, file=sys.stderr, flush=True)

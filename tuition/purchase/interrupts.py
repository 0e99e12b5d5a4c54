"""A coroutine that Ctrl-C and SIGTERM cancel, so that it can end what it has begun."""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. A signal cancels it, a second one its handling of the first, and so on.

    Raises KeyboardInterrupt, or SystemExit with 128 + 15, where a signal came, and what `work` raises. A signal that the process
    ignores stays ignored; outside the main thread, where no signal arrives, nothing is changed.
    """
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    listened = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        result = asyncio.run(_cancelled_by(listened, came, work))
    except asyncio.CancelledError:
        if not came:
            raise
    finally:
        for number in listened:
            signal.signal(number, before[number])
    if came:
        raise SystemExit(128 + came[0]) if came[0] == signal.SIGTERM else KeyboardInterrupt
    return result


async def _cancelled_by(numbers: Sequence[int], came: list[int], work: Coroutine[Any, Any, Any]) -> Any:
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main

    def interrupt(number: int) -> None:
        came.append(number)
        main.cancel()

    for number in numbers:
        loop.add_signal_handler(number, interrupt, number)
    return await work

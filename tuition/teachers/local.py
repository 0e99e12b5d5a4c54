"""Teachers in this process: a model or a function of the user's, asked in a thread so that the event loop goes on."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol, Self

import numpy as np

from tuition.teachers import passing
from tuition.teachers.protocol import Reply
from tuition.teachers.waiting import Waiting

Signals = dict[str, np.ndarray]


class LocalTeacher(Protocol):
    """What `InProcess` makes a `Teacher` of: the same without connections; `answer` may be async."""

    @property
    def description(self) -> dict[str, Any]: ...

    @property
    def signals(self) -> tuple[str, ...]: ...

    @property
    def families(self) -> tuple[str, ...]: ...

    @property
    def classes(self) -> int | None: ...

    @property
    def idempotent(self) -> bool: ...

    def answer(self, inputs: np.ndarray, keys: Sequence[str], /) -> Signals | Reply | Awaitable[Signals | Reply]: ...

    def constants(self) -> Signals: ...


class InProcess:
    """A `Teacher` that asks `model` in threads of its own, `max_in_flight` batches at a time: with one, in order, and with torch's threads
    as in any process.

    A model whose `answer` is async goes on in the event loop. Where there is `patience` (seconds), errors that pass, and `further` ones by
    name, mean what they mean from a server (`passing.py`); waits are said to be those of the teacher `name`.
    """

    in_process = True
    place: str | None = None
    counts_tokens = False

    def __init__(
        self,
        model: LocalTeacher,
        max_in_flight: int = 1,
        patience: float | None = None,
        further: Sequence[str] = (),
        name: str = "teacher",
    ):
        self.model, self.max_in_flight = model, max_in_flight
        self.patience, self.further, self.waiting = patience, further, Waiting(name, patience or 0.0)
        self.description, self.signals, self.families = model.description, model.signals, model.families
        self.classes, self.idempotent = model.classes, model.idempotent
        self._workers: _Workers | None = None

    async def __aenter__(self) -> Self:
        self._workers = _Workers(self.max_in_flight)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._workers is not None:
            self._workers.end()
            self._workers = None

    async def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply:
        """The model's answer. What it raises passes through unchanged, but for errors that pass, where there is patience."""
        if self.patience is None:
            return await self._once(inputs, keys)
        return await passing.ask(
            lambda: self._once(inputs, keys), self.further, self.patience, self.idempotent, self.waiting
        )

    def most_tokens(self, inputs: np.ndarray) -> list[tuple[int, int]]:
        raise NotImplementedError("it counts no tokens")

    def shortened(self, inputs: np.ndarray) -> int:
        count = getattr(self.model, "shortened", None)
        return count(inputs) if count else 0

    async def _once(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply:
        if self._workers is None:
            raise RuntimeError("the teacher is asked outside of `async with teacher`")
        given = await asyncio.wrap_future(self._workers.do(lambda: self.model.answer(inputs, keys)))
        if inspect.isawaitable(given):
            given = await given
        return given if isinstance(given, Reply) else Reply(given)

    def answer_now(self, inputs: np.ndarray, keys: Sequence[str] = ()) -> Signals:
        """The model's arrays at once, in the caller's thread; for a model that costs nothing to ask."""
        given = self.model.answer(inputs, keys)
        if isinstance(given, Reply) and not (given.malformed or given.faults):
            given = given.signals
        if not isinstance(given, dict):
            raise TypeError(f"found {type(given).__name__}, expected a dict of arrays")
        return given

    def constants(self) -> Signals:
        return self.model.constants()


class _Workers:
    """Threads that do one thing after another. Daemons: a function that never returns does not hold up the end of the process."""

    def __init__(self, count: int) -> None:
        self._work: SimpleQueue[tuple[Future, Callable[[], Any]] | None] = SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._run, name="teacher", daemon=True).start()

    def do(self, work: Callable[[], Any]) -> Future:
        future: Future = Future()
        self._work.put((future, work))
        return future

    def end(self) -> None:
        """End each thread when it has done what it is doing."""
        for _ in range(self._count):
            self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except StopIteration as error:  # which no coroutine can raise
                future.set_exception(RuntimeError(f"StopIteration: {error}"))
            except BaseException as error:
                future.set_exception(error)
            del item, future, work  # else the last answer stays in memory while the thread waits

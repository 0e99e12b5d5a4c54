"""A teacher behind HTTP, whatever its wire format: one call with its limits, its attempts and its doubts. Knows no ledger.

A format (`mlflow.py` is one) is pure: `signals`, `request(images, keys) -> Request`, `read(body, headers, keys) -> Reply`, `options()`,
`probes()` and `check(path, status, body)`; where the key does not go into `Authorization: Bearer`, `authorization`: the name of
a header and its value with {} for the key; and `keyed` where its requests hold the key of each image.
"""

import asyncio
import hashlib
import itertools
import random
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.params.teacher import Teacher as Settings
from tuition.signals import families
from tuition.teachers.http.address import Address
from tuition.teachers.http.format import BEARER, Format, HttpRequest
from tuition.teachers.http.outcomes import Verdict, judge
from tuition.teachers.http.rate_limits import RateLimit, Sent
from tuition.teachers.http.transport import MOST_BYTES, Failure, Response, Wire
from tuition.teachers.protocol import Refused, Reply, Stop, Uncertain

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds; a wait is drawn evenly from 0 to a bound that doubles with each attempt
SPOILT_ANSWERS = 3  # how often an answer that came cut off or garbled is asked for again, under its key
LARGE = 1 << 18  # bytes from which on writing and reading go to a thread, so that no other answer waits behind them
WINDOW = 60.0  # seconds over which teacher.requests_per_minute and teacher.tokens_per_minute are counted


class HttpTeacher:
    """Ask it inside `async with teacher:`, from as many tasks of one event loop as you like.

    `seen` counts attempts: "requests" in all, those "refused" and "uncertain", and those "retried", which were not a call's first.
    """

    def __init__(self, format: Format, settings: Settings, window: float = WINDOW):
        """Raises UserError for an address or a key that cannot be used, and for limits that cannot be kept."""
        if settings.idempotent and settings.batch_size > 1 and not getattr(format, "keyed", False):
            raise UserError(
                f"teacher.idempotent: true with teacher.batch_size {settings.batch_size}: the key is that of the whole request; after a "
                "kill the same images may not come together again, and would be charged twice. Set teacher.batch_size: 1, or "
                "teacher.idempotent: false; a format of your own that sends each image's key may say so with `keyed = True`"
            )
        self.format, self.settings = format, settings
        self.description = {
            "kind": settings.kind,
            "model": settings.model,
            "version": settings.version,
            "options": format.options(),
            "scores": settings.scores,
            "resize": settings.resize,
            "mean": settings.mean,
            "std": settings.std,
        }
        self.signals = tuple(format.signals)
        self.families = tuple(families(self.signals))
        self.classes, self.idempotent = settings.classes, settings.idempotent
        self.max_in_flight = settings.max_in_flight
        self.seen = dict.fromkeys(("requests", "refused", "uncertain", "retried"), 0)
        self.address = Address(settings, getattr(format, "authorization", BEARER))
        self.limit = RateLimit(settings.requests_per_minute, _tokens_per_minute(settings), window)
        self.wire = Wire(self.address, settings.max_in_flight, settings.timeout)
        self._reached = False  # whether the server has answered anything yet

    def __repr__(self) -> str:
        return f"HttpTeacher({self.settings.kind!r}, {self.address.place!r})"

    def constants(self) -> dict[str, np.ndarray]:
        return {}

    async def __aenter__(self) -> "HttpTeacher":
        self._slots = asyncio.Semaphore(self.max_in_flight)
        await self.wire.open()
        try:
            await self.probe()
        except BaseException:
            await self.wire.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.wire.close()

    async def probe(self) -> None:
        """Ask what is free of charge. Raises Stop where no call could succeed, and where the server is not ready within patience."""
        clock, patience = self.limit.clock, self.settings.patience
        for path in self.format.probes():
            end = clock() + patience
            for attempt in itertools.count(1):
                known = self._reached
                outcome, verdict, _ = await self._attempt("GET", path, None, {}, 0, None)
                if isinstance(outcome, Response) and verdict.fate != "refused":
                    if outcome.status == 401 or 300 <= outcome.status < 400:  # 403 may be said of this path alone
                        raise Stop(verdict.text)
                    self.format.check(path, outcome.status, self.address.secrets.hide_bytes(outcome.body))
                    break
                text = verdict.text if verdict.fate == "stop" else f"teacher.url: {verdict.text}"
                wait = _wait(verdict, attempt)
                if verdict.fate == "stop" or (isinstance(outcome, Failure) and not known):
                    raise Stop(text)
                if clock() + wait > end:
                    raise Stop(f"{text}; it was not ready for {patience:g} s (teacher.patience)")
                await asyncio.sleep(wait)

    async def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply:
        """The answer to B inputs (images (B, C, H, W) uint8), one idempotency key each, with all the attempts that it takes.

        No attempt begins later than `teacher.patience` after the first one began; each takes `teacher.timeout` at most. Raises
        Refused, Uncertain or Stop.
        """
        request = await self._written(inputs, keys)
        key = keys[0] if len(keys) == 1 else hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        tokens = (self.settings.max_tokens_per_call or 0) * len(keys)
        past, spoilt, end = _Past(), 0, None
        for attempt in itertools.count(1):
            headers = {**request.headers, "Idempotency-Key": key, "X-Request-Id": f"{key}-{attempt}"}
            try:
                outcome, verdict, turn = await self._attempt(
                    "POST", request.path, request.content, headers, tokens, end
                )
            except TimeoutError:  # the others were let by until patience was over
                return past.over(attempt - 1, self.settings.patience)
            end = turn.at + self.settings.patience if end is None else end
            self._count(verdict, attempt)
            past.said = verdict.text
            if isinstance(outcome, Response) and verdict.fate == "answered":
                reply = await self._read(outcome, keys)
                self._settle(turn, reply)
                if not (self.idempotent and reply.spoilt) or spoilt == SPOILT_ANSWERS:
                    return reply
                past.garbled, spoilt = reply, spoilt + 1
            elif verdict.fate == "stop":
                return past.stopped(Stop(verdict.text))
            elif verdict.fate == "uncertain":
                past.doubt = verdict.text
                if not self.idempotent:
                    raise Uncertain(verdict.text)
            elif verdict.wait is not None:
                self.limit.pause(min(verdict.wait, self.settings.patience))
            wait = _wait(verdict, attempt)
            if self.limit.clock() + wait > end:
                if verdict.wait is not None and verdict.wait > self.settings.patience:
                    past.said += f"; it asks to be left alone for {verdict.wait:g} s"
                return past.over(attempt, self.settings.patience)
            await asyncio.sleep(wait)
        raise AssertionError("a count has no end")

    async def _attempt(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str], tokens: int, end: float | None
    ) -> tuple[Response | Failure, Verdict, Sent]:
        """One attempt when it is its turn. Raises TimeoutError where that is not before `end`, a time of the limit's clock."""
        seconds = None if end is None else end - self.limit.clock()
        async with asyncio.timeout(seconds) as patience, self._slots:
            turn = await self.limit.take(tokens)
            patience.reschedule(None)  # it has begun
            outcome = await self.wire.send(method, path, content, headers)
        verdict = judge(outcome, self.address, self.settings.api_key_env, self._reached)
        if isinstance(outcome, Response):
            self._reached = True
        elif not outcome.left:
            self.limit.settle(turn, 0)
        return outcome, verdict, turn

    async def _written(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        try:
            request = await _aside(inputs.nbytes, self.format.request, inputs, keys)
        except UserError as error:
            raise Stop(str(error)) from None
        except Exception as error:
            fault = self.address.secrets.hide(_fault(error))
        else:
            if all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in request.headers.items()):
                return request
            fault = f"headers {sorted(request.headers)}: one has a name or a value that no header can have"
        raise Stop(f"teacher.kind: {self.settings.kind}: no request could be written: {fault}")

    async def _read(self, response: Response, keys: Sequence[str]) -> Reply:
        """The format's reply, its words free of secrets; what goes wrong in reading makes it malformed."""
        if response.cut:
            reply = Reply(malformed=f"longer than {MOST_BYTES >> 20} MiB", raw=response.body)
        else:
            try:
                reply = await _aside(len(response.body), self.format.read, response.body, response.headers, keys)
            except Exception as error:
                reply = Reply(malformed=f"the format cannot read it: {_fault(error)}")
        if reply.malformed is None:
            return reply
        secrets = self.address.secrets
        return replace(
            reply, malformed=secrets.hide(reply.malformed), raw=secrets.hide_bytes(reply.raw or response.body)
        )

    def _settle(self, turn: Sent, reply: Reply) -> None:
        said: tuple[Any, Any] = (reply.input_tokens, reply.output_tokens)
        if all(isinstance(one, Integral) and int(one) >= 0 for one in said):  # else the most that was reserved stands
            self.limit.settle(turn, int(sum(said)))

    def _count(self, verdict: Verdict, attempt: int) -> None:
        self.seen["requests"] += 1
        self.seen["retried"] += attempt > 1
        if verdict.fate in self.seen:
            self.seen[verdict.fate] += 1


@dataclass
class _Past:
    """What earlier attempts of a call came to; it decides how the call ends where no attempt is left."""

    said: str = ""  # by the last one
    doubt: str = ""  # an attempt that may have been processed: nothing after it can make the call surely free
    garbled: Reply | None = None  # an attempt that was processed, and its answer spoilt

    def over(self, attempts: int, patience: float) -> Reply:
        """Patience is over."""
        text = f"{self.said}; {attempts} attempts in {patience:g} s (teacher.patience)"
        if self.garbled:
            return self.garbled
        if self.doubt:
            raise Uncertain(text if self.doubt == self.said else f"{self.doubt}; last: {text}")
        raise Refused(text)

    def stopped(self, stop: Stop) -> Reply:
        if self.garbled:
            return self.garbled
        if self.doubt:
            error = Uncertain(f"{self.doubt}; then: {stop}")
            error.stop = stop
            raise error from stop
        raise stop


_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), re.compile(r"[\t\x20-\x7e]*")


def _wait(verdict: Verdict, attempt: int) -> float:
    """Seconds until the next attempt: what the server asks for and a little, so that not all come back at once; or full jitter."""
    if verdict.wait is not None:
        return verdict.wait + random.uniform(0, max(FIRST_WAIT, verdict.wait / 10))
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 16)))


async def _aside(size: int, function: Callable, *args: Any) -> Any:
    return await asyncio.to_thread(function, *args) if size > LARGE else function(*args)


def _fault(error: Exception) -> str:
    """An error of a format's code and where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _tokens_per_minute(settings: Settings) -> int | None:
    """teacher.tokens_per_minute, where it can be kept: it takes a bound on what a request may use."""
    limit, most = settings.tokens_per_minute, settings.max_tokens_per_call
    if limit is not None and most is None:
        raise UserError(
            f"teacher.max_tokens_per_call: not set, and teacher.tokens_per_minute is {limit}; give the most tokens that one call may use"
        )
    if limit is not None and most is not None and most * settings.batch_size > limit:
        raise UserError(
            f"teacher.tokens_per_minute: found {limit}, but teacher.max_tokens_per_call × teacher.batch_size is "
            f"{most} × {settings.batch_size}; lower teacher.batch_size"
        )
    return limit

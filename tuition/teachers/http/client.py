"""One server and how it is asked: whose turn it is, one attempt, and a call with all its attempts and doubts. Knows no format."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral

from tuition.params.teacher import ServerSettings
from tuition.teachers import backoff
from tuition.teachers.http.address import Address
from tuition.teachers.http.format import HttpRequest
from tuition.teachers.http.outcomes import Outcome, outcome_of
from tuition.teachers.http.rate_limits import RateLimit, Sent
from tuition.teachers.http.transport import MOST_BYTES_OF_AN_ERROR, Failure, Response, Transport
from tuition.teachers.protocol import Refused, Reply, Stop, Uncertain
from tuition.teachers.waiting import Waiting

SPOILT_ANSWERS = 3  # how often an answer that came cut off or garbled is asked for again, under its key

Read = Callable[[Response], Awaitable[Reply]]
InnerStatus = Callable[[bytes, Mapping[str, str]], int | None]


@dataclass(frozen=True)
class Attempt:
    """What one attempt brought, what that comes to, and its entry in the log of what was sent."""

    result: Response | Failure
    outcome: Outcome
    sent: Sent


class Client:
    """Open it in an event loop, then ask from as many tasks of it as you like.

    `seen` counts attempts of calls: "requests" in all, those "refused" and "uncertain", and those "retried", which were not a call's
    first. `reached`: the server has answered something. `inner_status`: the format's, where it has one.
    """

    def __init__(
        self, address: Address, limit: RateLimit, settings: ServerSettings, inner_status: InnerStatus | None = None
    ):
        self.address, self.limit, self.settings, self.inner_status = address, limit, settings, inner_status
        self.transport = Transport(address, settings.max_in_flight, settings.timeout)
        self.waiting = Waiting(settings.name, settings.patience)
        self.seen = dict.fromkeys(("requests", "refused", "uncertain", "retried"), 0)
        self.reached = False

    async def open(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.max_in_flight)
        await self.transport.open()

    async def close(self) -> None:
        await self.transport.close()

    async def call(self, request: HttpRequest, key: str, tokens: int, read: Read) -> Reply:
        """The reply that `read` makes of the answer to `request`, with all the attempts that it takes, each under `key`.

        No attempt begins later than `teacher.patience` after the first one began; each takes `teacher.timeout` at most. Up to `tokens`
        are reserved for an attempt. Raises Refused, Uncertain or Stop.
        """
        past, patience = _Past(), self.settings.patience
        for number in itertools.count(1):
            headers = {**request.headers, "Idempotency-Key": key, "X-Request-Id": f"{key}-{number}"}
            try:
                one = await self.attempt("POST", request.path, request.content, headers, tokens, past.end)
            except TimeoutError:  # the others were let by until patience was over
                return past.over(number - 1, patience)
            if past.end is None:
                past.end = one.sent.at + patience
            self._count(one.outcome, number)
            reply = await self._ended(one, past, read)
            if reply is not None:
                return reply
            wait = wait_before_next(one.outcome, number)
            if self.limit.clock() + wait > past.end:
                if one.outcome.wait is not None and one.outcome.wait > patience:
                    past.last += f"; it asks to be left alone for {one.outcome.wait:g} s"
                return past.over(number, patience)
            await self.waiting.wait(wait, past.end - self.limit.clock(), past.last)
        raise AssertionError("a count has no end")

    async def attempt(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        tokens: int = 0,
        end: float | None = None,
    ) -> Attempt:
        """One attempt when it is its turn. Raises TimeoutError where that is not before `end`, a time of the limit's clock."""
        seconds = None if end is None else end - self.limit.clock()
        async with asyncio.timeout(seconds) as patience, self._slots:
            sent = await self.limit.take(tokens)
            patience.reschedule(None)  # it has begun
            result = self._judged(await self.transport.send(method, path, content, headers or {}))
        outcome = outcome_of(result, self.address, self.settings.api_key_env, self.reached)
        if isinstance(result, Response):
            self.reached = True
        elif not result.left:
            self.limit.settle(sent, 0)
        return Attempt(result, outcome, sent)

    def _judged(self, result: Response | Failure) -> Response | Failure:
        """With the status of an error that an answer of status 200 tells of. Errors are short: a long body is not looked at."""
        if self.inner_status is None or isinstance(result, Failure) or result.status != 200:
            return result
        if len(result.body) > MOST_BYTES_OF_AN_ERROR:
            return result
        try:
            inner = self.inner_status(result.body, result.headers)
        except Exception:  # a format of the user's: what it cannot read is no error that it knows
            return result
        return replace(result, inner=inner) if isinstance(inner, int) and 400 <= inner < 600 else result

    async def _ended(self, one: Attempt, past: "_Past", read: Read) -> Reply | None:
        """The call's reply where this attempt has ended it; None where another attempt may follow. Raises as `call` does."""
        outcome = one.outcome
        past.last = outcome.text
        if isinstance(one.result, Response) and outcome.fate == "answered":
            reply = await read(one.result)
            self._settle(one.sent, reply)
            if not (self.settings.idempotent and reply.spoilt) or past.spoilt_answers == SPOILT_ANSWERS:
                return reply
            past.spoilt, past.spoilt_answers = reply, past.spoilt_answers + 1
        elif outcome.fate == "stop":
            return past.stopped(Stop(outcome.text))
        elif outcome.fate == "uncertain":
            past.doubt = outcome.text
            if not self.settings.idempotent:
                raise Uncertain(outcome.text)
        elif outcome.wait is not None:
            self.limit.pause(min(outcome.wait, self.settings.patience))
        return None

    def _settle(self, sent: Sent, reply: Reply) -> None:
        """Against the rate limit, what the reply says of tokens; where it does not say all, the most that was reserved stands."""
        counts = (reply.input_tokens, reply.output_tokens)
        if all(isinstance(count, Integral) and int(count) >= 0 for count in counts):
            self.limit.settle(sent, sum(int(count) for count in counts if count is not None))

    def _count(self, outcome: Outcome, number: int) -> None:
        self.seen["requests"] += 1
        self.seen["retried"] += number > 1
        if outcome.fate in self.seen:
            self.seen[outcome.fate] += 1


@dataclass
class _Past:
    """What earlier attempts of a call came to; it decides how the call ends where no attempt is left."""

    end: float | None = None  # when patience is over, by the limit's clock
    last: str = ""  # what the last one came to, in words
    doubt: str = ""  # an attempt that may have been processed: nothing after it can make the call surely free
    spoilt: Reply | None = None  # of an attempt that was processed
    spoilt_answers: int = 0

    def over(self, attempts: int, patience: float) -> Reply:
        """Patience is over."""
        text = f"{self.last}; {attempts} attempts in {patience:g} s (teacher.patience)"
        if self.spoilt:
            return self.spoilt
        if self.doubt:
            raise Uncertain(text if self.doubt == self.last else f"{self.doubt}; last: {text}")
        raise Refused(text)

    def stopped(self, stop: Stop) -> Reply:
        if self.spoilt:
            return self.spoilt
        if self.doubt:
            error = Uncertain(f"{self.doubt}; then: {stop}")
            error.stop = stop
            raise error from stop
        raise stop


def wait_before_next(outcome: Outcome, number: int) -> float:
    """Seconds until the next attempt after the `number`-th: what the server asks for and a little, so that not all come back at once; or
    full jitter."""
    if outcome.wait is not None:
        return outcome.wait + random.uniform(0, max(backoff.FIRST_WAIT, outcome.wait / 10))
    return backoff.full_jitter(number)

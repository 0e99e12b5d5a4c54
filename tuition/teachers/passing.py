"""Errors of a user's function that pass: which they are, what each means for the bill, and asking again.

An error means what it means from a server. *Refused*: surely nothing was processed (no connection, 429): asked again until
`teacher.patience` is over, then the calls are given back and the run stops. *Uncertain* (a time-out, a lost connection): asked again
where `teacher.idempotent` says that this is never charged twice; else the calls count as spent, their fate unknown, and the run goes on.
Classes are known by package and name, so that no client is imported to know its errors. A refusal that says that the account is empty is
none that passes: the run stops at once.
"""

import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

from tuition.teachers.backoff import full_jitter
from tuition.teachers.billing import code_of_exception
from tuition.teachers.protocol import Refused, Reply, Stop, Uncertain
from tuition.teachers.waiting import Waiting

REFUSED = frozenset(
    {
        "ConnectionRefusedError",
        "socket.gaierror",
        "requests.ConnectTimeout",
        "httpx.ConnectError",
        "httpx.ConnectTimeout",
        "aiohttp.ClientConnectorError",
        "openai.RateLimitError",
        "anthropic.RateLimitError",
    }
)
UNCERTAIN = frozenset(
    {
        "TimeoutError",
        "ConnectionError",
        "requests.Timeout",
        "requests.ConnectionError",
        "urllib3.TimeoutError",
        "urllib3.ProtocolError",
        "httpx.TransportError",
        "aiohttp.ClientConnectionError",
        "openai.APIConnectionError",
        "openai.InternalServerError",
        "anthropic.APIConnectionError",
        "anthropic.InternalServerError",
    }
)


def meaning(error: BaseException, further: Sequence[str] = ()) -> type[Refused] | type[Uncertain] | None:
    """What an error says of the bill; None where it is none that passes. `further` (teacher.retry) are uncertain too, by bare name or
    `package.Name`."""
    if isinstance(error, Refused):
        return Refused
    names = [
        name
        for one in type(error).__mro__
        for name in (one.__qualname__, f"{one.__module__.split('.')[0]}.{one.__qualname__}")
    ]
    for name in names:  # the nearest class decides: a refused connection is a ConnectionError, too
        if name.removeprefix("builtins.") in REFUSED:
            return Refused
        if name.removeprefix("builtins.") in UNCERTAIN or name in further:
            return Uncertain
    return None


async def ask(
    once: Callable[[], Awaitable[Reply]], further: Sequence[str], patience: float, idempotent: bool, waiting: Waiting
) -> Reply:
    """The reply of `once`, asked again while its errors pass and `patience` (seconds) lasts; `waiting` says that it waits.

    Raises Refused or Uncertain where it is over, Stop where the account is empty, and unchanged what does not pass.
    """
    end, doubt = time.monotonic() + patience, ""
    for number in itertools.count(1):
        try:
            return await once()
        except Exception as error:
            fate, text = meaning(error, further), f"{type(error).__name__}: {error}"
            if fate is None:
                raise
            if fate is Refused and (code := code_of_exception(error)):
                raise _stopped(code, text, doubt) from error
            if fate is Uncertain:
                doubt = text
                if not idempotent:
                    raise Uncertain(text) from error
            wait = full_jitter(number)
            if time.monotonic() + wait > end:
                text = f"{text}; {number} attempts in {patience:g} s (teacher.patience)"
                raise (Uncertain if doubt else Refused)(text) from error
        await waiting.wait(wait, end - time.monotonic(), text)
    raise AssertionError("a count has no end")


def _stopped(code: str, text: str, doubt: str) -> Stop | Uncertain:
    """What to raise where the account is empty; `doubt`: of an earlier attempt of the call it is not known whether it was charged."""
    stop = Stop(
        f"teacher.function: the account has no quota or money left, which no waiting mends; see to its plan or its limit ({code}): {text}"
    )
    if not doubt:
        return stop
    error = Uncertain(f"{doubt}; then: {stop}")
    error.stop = stop
    return error

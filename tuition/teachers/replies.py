"""What goes to a teacher that is asked over the network, and what comes back: a reply, or one of three ways to fail.

The difference between the three is what may have been charged, and so what the ledger does with the call.
"""

from dataclasses import dataclass, field

import numpy as np

from tuition.errors import UserError


class Refused(Exception):
    """Surely nothing was processed, and so nothing charged (429, connection refused): the calls are refunded."""


class Stop(UserError):
    """No call can succeed until the user mends something (401, 404, TLS); nothing was processed. Names what to change."""


class Uncertain(Exception):
    """Whether it was processed cannot be told (time-out, connection lost after sending): the calls count as spent.

    `stop` is what a later attempt of the same call was stopped by, where one was: no other call can succeed either.
    """

    stop: Stop | None = None


@dataclass(frozen=True)
class Request:
    """One question for B images as it is sent: `path` is appended to `teacher.url`, `content` is the body."""

    path: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One answered request for B images.

    `signals`: {name: (B, …)} in the order of the request's keys. `malformed`: why the answer cannot be used, if it cannot;
    `raw` is then the body as it came. Tokens are those that the server says it charged, for the whole request; None where it says
    nothing.
    """

    signals: dict[str, np.ndarray] = field(default_factory=dict)
    malformed: str | None = None
    raw: bytes = b""
    input_tokens: int | None = None
    output_tokens: int | None = None

"""What every teacher is, whatever its kind: how it is asked, what it replies, and three ways to fail.

The difference between the three is what may have been charged, and so what the ledger does with the call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from tuition.errors import UserError
from tuition.identity import NOBODY, Identity


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
class Reply:
    """One answered request for B inputs.

    `signals`: {name: (B, …)} in the order of the request's keys. `malformed`: why the answer cannot be used, if it cannot;
    `raw` is then the body as it came. `spoilt`: it came cut off or garbled, so that asking again under the same key may bring it
    whole. `faults`: rows that cannot be used where the others can, each with why and what was said. Tokens are those that the
    server says it charged, for the whole request; None where it says nothing; `unlisted_tokens` are those among them that only its
    total counts. `identity`: the model that the answer names.
    """

    signals: dict[str, np.ndarray] = field(default_factory=dict)
    malformed: str | None = None
    spoilt: bool = False
    raw: bytes = b""
    faults: Mapping[int, tuple[str, bytes]] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    unlisted_tokens: int = 0
    identity: Identity = NOBODY


class Teacher(Protocol):
    """Whoever gives answers, asked inside `async with teacher:` from as many tasks of one event loop as you like.

    `description`: what the fingerprint is computed from. `signals`: the arrays that an answer holds, and the `families` that they make
    up (`tuition/signals.py`), with what several answers to a sample are made into (`teacher.samples`). `classes`: how many it knows; None
    where it cannot say. `idempotent`: asking again under the same key is never charged twice. `max_in_flight`: how many requests it takes
    at a time. `in_process`: it answers in this process, so that a request to it has its turn as soon as it is made. `place`: the address
    where it is asked, without secrets; None: it has none. `counts_tokens`: it can tell how many tokens a call takes before it is made.
    """

    description: dict[str, Any]
    signals: tuple[str, ...]
    families: tuple[str, ...]
    classes: int | None
    idempotent: bool
    max_in_flight: int
    in_process: bool
    place: str | None
    counts_tokens: bool

    async def __aenter__(self) -> Self:
        """Open connections and ask, free of charge, whether it is there. Raises Stop where no call could succeed."""
        ...

    async def __aexit__(self, *error: object) -> None: ...

    async def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply:
        """The answer to B inputs (images: (B, C, H, W) uint8), one idempotency key each. Raises Refused, Uncertain or Stop, and,
        unchanged, what the user's own code raises: then nobody knows whether it was charged."""
        ...

    def most_tokens(self, inputs: np.ndarray) -> list[tuple[int, int]]:
        """For each of B inputs the most tokens that a call may take, of the question and of the answer; asked where it `counts_tokens`."""
        ...

    def shortened(self, inputs: np.ndarray) -> int:
        """Of how many of B texts it is not shown all."""
        ...

    def constants(self) -> dict[str, np.ndarray]:
        """What it has one of, not one a sample: arrays by name."""
        ...

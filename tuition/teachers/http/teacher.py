"""A teacher behind HTTP, whatever its format: what it is, and how a question and its answer pass between format and client."""

import asyncio
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from tuition.errors import UserError
from tuition.params.teacher import ServerSettings
from tuition.signals import families, with_votes
from tuition.teachers.http.address import Address
from tuition.teachers.http.client import Client
from tuition.teachers.http.format import BEARER, Format, HttpRequest, request_key
from tuition.teachers.http.probe import probe
from tuition.teachers.http.rate_limits import RateLimit
from tuition.teachers.http.transport import MOST_BYTES, Response
from tuition.teachers.protocol import Reply, Stop

LARGE = 1 << 18  # bytes from which on writing and reading go to a thread, so that no other answer waits behind them
WINDOW = 60.0  # seconds over which teacher.requests_per_minute and teacher.tokens_per_minute are counted

T = TypeVar("T")


class HttpTeacher:
    """The `Teacher` of a server that speaks `format`."""

    in_process = False

    def __init__(self, format: Format, settings: ServerSettings, window: float = WINDOW):
        """Raises UserError for an address or a key that cannot be used, and for limits that cannot be kept."""
        _check_keys(format, settings)
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
        self.families = tuple(families(with_votes(self.signals, settings.samples)))
        self.counts_tokens = bool(getattr(format, "counts_tokens", False))
        self.classes, self.idempotent, self.max_in_flight = (
            settings.classes,
            settings.idempotent,
            settings.max_in_flight,
        )
        address = Address(settings, getattr(format, "authorization", BEARER))
        limit = RateLimit(settings.requests_per_minute, _tokens_per_minute(settings), window)
        self.place: str | None = address.place
        self.client = Client(address, limit, settings, getattr(format, "inner_status", None))

    def __repr__(self) -> str:
        return f"HttpTeacher({self.settings.kind!r}, {self.client.address.place!r})"

    def most_tokens(self, inputs: np.ndarray) -> list[tuple[int, int]]:
        return self.format.most_tokens(inputs)  # type: ignore[attr-defined]

    def shortened(self, inputs: np.ndarray) -> int:
        count = getattr(self.format, "shortened", None)
        return count(inputs) if count else 0

    def constants(self) -> dict[str, np.ndarray]:
        return {}

    async def __aenter__(self) -> Self:
        await self.client.open()
        try:
            await probe(self.client, self.format, self.settings.patience)
        except BaseException:
            await self.client.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.close()

    async def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply:
        """The answer to B inputs (images: (B, C, H, W) uint8), one idempotency key each, with all the attempts that it takes.

        Raises Refused, Uncertain or Stop.
        """
        request = await self._written(inputs, keys)
        tokens = (self.settings.max_tokens_per_call or 0) * len(keys)
        return await self.client.call(request, request_key(keys), tokens, lambda answer: self._read(answer, keys))

    async def _written(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        try:
            request = await _aside(inputs.nbytes, lambda: self.format.request(inputs, keys))
        except UserError as error:
            raise Stop(str(error)) from None
        except Exception as error:
            fault = self.client.address.secrets.hide(_fault(error))
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
                reply = await _aside(
                    len(response.body), lambda: self.format.read(response.body, response.headers, keys)
                )
            except Exception as error:
                reply = Reply(malformed=f"the format cannot read it: {_fault(error)}")
        if reply.malformed is None:
            return reply
        secrets = self.client.address.secrets
        return replace(
            reply, malformed=secrets.hide(reply.malformed), raw=secrets.hide_bytes(reply.raw or response.body)
        )


_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), re.compile(r"[\t\x20-\x7e]*")


async def _aside(size: int, function: Callable[[], T]) -> T:
    return await asyncio.to_thread(function) if size > LARGE else function()


def _fault(error: Exception) -> str:
    """An error of a format's code and where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _check_keys(format: Format, settings: ServerSettings) -> None:
    """Raises UserError where one key would stand for several inputs, which may not come together a second time."""
    if settings.idempotent and settings.batch_size > 1 and not getattr(format, "keyed", False):
        raise UserError(
            f"teacher.idempotent: true with teacher.batch_size {settings.batch_size}: the key is that of the whole request; after a "
            "kill the same images may not come together again, and would be charged twice. Set teacher.batch_size: 1, or "
            "teacher.idempotent: false; a format of your own that sends each image's key may say so with `keyed = True`"
        )


def _tokens_per_minute(settings: ServerSettings) -> int | None:
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

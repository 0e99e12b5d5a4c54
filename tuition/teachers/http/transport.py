"""One request over HTTP and what became of it; nothing is judged, waited for or tried again here.

Why aiohttp: what is left on a connection behind an answer must not be read as the answer to the next question. aiohttp closes such a
connection; others hand the bytes to the next request, and a server that answers twice then gives one sample the scores of another.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import aiohttp

from tuition.teachers.http.address import Address

MOST_BYTES = 64 * 2**20  # of an answer
MOST_BYTES_OF_AN_ERROR = 64 * 2**10
SECONDS_FOR_AN_ERRORS_TEXT = 5.0
SECONDS_TO_CONNECT = 10.0
SECONDS_IDLE = (
    4.0  # less than servers keep a connection (uvicorn, node and Apache: 5), so that few requests meet one just closed
)


@dataclass(frozen=True)
class Response:
    """What a server answered. `cut`: the body is longer than we read, and `body` its beginning.

    `inner`: the status of an error that the body tells of, though the answer's own status is 200.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False
    inner: int | None = None


@dataclass(frozen=True)
class Failure:
    """No answer came. `left`: the request, or a part of it, may have reached the server.

    `reason`: "tls" (the handshake failed), "unreachable" (no connection), "unsendable" (no request could be made of it), "late" (no
    answer in time), "lost" (the connection broke, or what came is no HTTP).
    """

    left: bool
    reason: Literal["tls", "unreachable", "unsendable", "late", "lost"]
    text: str


class Transport:
    """One session with re-used connections, as many as `connections`. Certificates are verified, redirects are not followed."""

    def __init__(self, address: Address, connections: int, timeout: float):
        """`timeout`: seconds for one request, from looking up the name to the answer's last byte."""
        self.address, self.connections, self.timeout = address, connections, timeout
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_mark_as_left)
        trace.on_connection_reuseconn.append(_mark_as_left)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.connections,
                keepalive_timeout=SECONDS_IDLE,
                ssl=ssl.create_default_context()
                if self.address.tls
                else True,  # now, so that SSL_CERT_FILE of now counts
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(SECONDS_TO_CONNECT, self.timeout)),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Response | Failure:
        """Send one request. Raises nothing that has to do with the network."""
        if self._session is None:
            raise RuntimeError("the teacher is asked outside of `async with teacher`")
        fate = SimpleNamespace(left=False)
        try:
            async with (
                asyncio.timeout(self.timeout) as deadline,
                self._session.request(
                    method,
                    self.address.to(path),
                    data=content,
                    headers={**headers, **self.address.headers},
                    allow_redirects=False,
                    proxy=self.address.proxy,
                    trace_request_ctx=fate,
                ) as answer,
            ):
                if 200 <= answer.status < 300:
                    body, cut = await _read(answer, MOST_BYTES)
                else:
                    deadline.reschedule(None)  # the status says enough: it is not lost to a body that does not come
                    body, cut = await _text(answer)
                return Response(answer.status, answer.headers, body, cut)
        except aiohttp.ClientSSLError as error:
            return Failure(False, "tls", _words(error))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:  # aiohttp's time-outs are both
            if fate.left:
                return Failure(True, "late" if isinstance(error, TimeoutError) else "lost", _words(error))
            return Failure(False, "unreachable", _words(error))
        except Exception as error:
            return Failure(fate.left, "lost" if fate.left else "unsendable", _words(error))


async def _mark_as_left(session: aiohttp.ClientSession, context: SimpleNamespace, details: object) -> None:
    """There is a connection, through a proxy where there is one: from now on the request may have left."""
    context.trace_request_ctx.left = True


async def _read(answer: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            return b"".join(parts)[:MOST_BYTES_OF_AN_ERROR], True
    return b"".join(parts), False


async def _text(answer: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The beginning of an error's body, as much as comes soon."""
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(SECONDS_FOR_AN_ERRORS_TEXT):
            async for part in answer.content.iter_any():
                parts.append(part)
                if sum(map(len, parts)) > MOST_BYTES_OF_AN_ERROR:
                    break
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass
    return b"".join(parts)[:MOST_BYTES_OF_AN_ERROR], False


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

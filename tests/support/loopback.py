"""A teacher on this machine that keeps its own bill and misbehaves as it is told: a real HTTP server, in a thread, on a free port.

`server.script` holds what becomes of the next requests, in the order of their arrival; behind its end every request is answered well.
An entry is a function of (server, request, writer) from the list below. What is asked: a JSON object with `keys` and one `sums` each;
what is answered: scores (B, 10), of which row i holds sum i and then the first nine hexadecimal digits of key i as numbers.
"""

import asyncio
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int
    at: float


@dataclass
class Server:
    """`received`: every whole request but probes; `processed`: the idempotency keys of those that were worked on, the bill."""

    script: deque = field(default_factory=deque)
    probes: deque = field(default_factory=deque)
    received: list[Received] = field(default_factory=list)
    asked: list[Received] = field(default_factory=list)  # probes
    processed: list[str] = field(default_factory=list)
    connections: int = 0
    under_way: int = 0
    most_under_way: int = 0
    certificate: tuple[str, str] | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        self._started, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._over, self._tasks = asyncio.Event(), set()
        context = None
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
        self._loop.set_exception_handler(lambda loop, what: None)  # handshakes that fail are part of the tests
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        number = self.connections
        try:
            while True:
                request = await _request(reader, writer, number)
                await self._one(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _one(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.method == "GET":
            self.asked.append(request)
            await (self.probes.popleft() if self.probes else status(200))(self, request, writer)
            return
        self.received.append(request)
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await (self.script.popleft() if self.script else well)(self, request, writer)
        finally:
            self.under_way -= 1


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> Received:
    start = await reader.readexactly(1)
    if start == b"\x16":  # a handshake, as servers without TLS answer it
        writer.write(whole(b"this is no HTTP", 400))
        raise ConnectionError
    first, *lines = (start + await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Received(method, path, headers, body, connection, time.monotonic())


def answer_of(server: Server, request: Received) -> bytes:
    """Work on a request: it is on the bill from now on."""
    asked = json.loads(request.body)
    server.processed.append(request.headers["idempotency-key"])
    rows = [
        [total, *(int(digit, 16) for digit in key[:9])] for key, total in zip(asked["keys"], asked["sums"], strict=True)
    ]
    return json.dumps({"scores": rows, "tokens": 7}).encode()


def whole(body: bytes, code: int = 200, headers: dict[str, str] | None = None, length: int | None = None) -> bytes:
    lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = [f"HTTP/1.1 {code} Said", f"Content-Length: {len(body) if length is None else length}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


async def well(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(whole(answer_of(server, request)))


def slowly(seconds: float) -> Callable:
    async def behave(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await well(server, request, writer)

    return behave


def status(code: int, body: bytes = b"said by the server", headers: dict[str, str] | None = None) -> Callable:
    """Refuse it before it is worked on."""

    async def behave(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(body, code, headers))

    return behave


def says(body: bytes, headers: dict[str, str] | None = None) -> Callable:
    """Work on it, and say this."""

    async def behave(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
        answer_of(server, request)
        writer.write(whole(body, 200, headers))

    return behave


async def fails(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    """500 behind the work."""
    answer_of(server, request)
    writer.write(whole(b"a fault", 500))


async def closes_before(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    raise ConnectionError


async def closes_after(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    answer_of(server, request)
    raise ConnectionError


async def stalls(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    answer_of(server, request)
    await asyncio.sleep(60)


async def stalls_in_the_body(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    body = answer_of(server, request)
    writer.write(whole(body)[:-10])
    await asyncio.sleep(60)


def stalls_in_an_error(code: int) -> Callable:
    async def behave(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(b"the beginning", code, length=1000))
        await asyncio.sleep(60)

    return behave


async def cut_off(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    """Fewer bytes than Content-Length says."""
    body = answer_of(server, request)
    writer.write(whole(body[:20], length=len(body)))
    await writer.drain()
    raise ConnectionError


async def half_json(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(whole(answer_of(server, request)[:20]))


async def no_http(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    answer_of(server, request)
    writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")


async def twice(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
    """The same answer two times, in one piece."""
    writer.write(whole(answer_of(server, request)) * 2)


def huge(megabytes: int) -> Callable:
    async def behave(server: Server, request: Received, writer: asyncio.StreamWriter) -> None:
        answer_of(server, request)
        writer.write(whole(b"", length=megabytes << 20))
        for _ in range(megabytes):
            writer.write(bytes(1 << 20))
            await writer.drain()

    return behave

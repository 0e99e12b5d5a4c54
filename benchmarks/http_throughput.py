"""Claim: buying over HTTP reaches 0.95 of a stated rate limit and never passes it; and how much it reaches of concurrency ÷ latency.

The teacher is a process of its own that takes a latency for each request, and counts. `buy` is the whole path, with a ledger in SQLite;
`charged` is it for a teacher that is not idempotent; `bare` asks the same server with aiohttp and nothing else, as many requests at a
time: where it too stays behind, it is the machine.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import aiohttp
import numpy as np

from benchmarks.common import ROOT, save, spread, table
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.params.teacher import teacher_settings
from tuition.purchase import loop
from tuition.purchase.account import open_account
from tuition.teachers import HttpRequest, Reply
from tuition.teachers.http.teacher import HttpTeacher

PIXELS = bytes(28 * 28)  # of each image
ANSWER = json.dumps([float(i) for i in range(-5, 5)]).encode()


class Connection(asyncio.Protocol):
    """Any POST is answered after `latency` seconds; GET /report tells when they `came` since the last report."""

    def __init__(self, latency: float, came: list[float]):
        self.latency, self.came, self.held = latency, came, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            size = end + 4 + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self.held) < size:
                return
            self.held = self.held[size:]
            if head.startswith(b"get "):
                self._say(json.dumps({"came": self.came, "cpu": time.process_time()}).encode())
                self.came.clear()
            else:
                self.came.append(time.monotonic())
                asyncio.get_running_loop().call_later(self.latency, self._say, ANSWER)

    def _say(self, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve(latency: float) -> None:
    came: list[float] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(latency, came), "127.0.0.1", 0, backlog=1000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server(latency: float) -> Iterator[str]:
    """A teacher's URL."""
    command = [sys.executable, "-m", "benchmarks.http_throughput", "--serve", str(latency)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def report(url: str) -> dict[str, Any]:
    """When the requests came at the server since the last report (seconds, oldest first), and its processor time so far."""
    with urllib.request.urlopen(f"{url}/report") as answer:
        return json.load(answer)


class Format:
    signals = ("logits",)

    def options(self) -> dict[str, Any]:
        return {}

    def request(self, images: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        return HttpRequest("/score", images.tobytes(), {"Content-Type": "application/octet-stream"})

    def read(self, body: bytes, headers: Any, keys: Sequence[str]) -> Reply:
        return Reply({"logits": np.array([json.loads(body)], dtype=np.float32)})

    def probes(self) -> list[str]:
        return []


def buy(
    url: str, count: int, concurrency: int, idempotent: bool = True, per_window: int | None = None, window: float = 60.0
) -> None:
    """Own the outputs of `count` samples, in a new ledger."""
    settings = teacher_settings(
        kind="http",
        url=url,
        format="benchmarks.http_throughput:Format",
        max_in_flight=concurrency,
        batch_size=1,
        idempotent=idempotent,
        requests_per_minute=per_window,
    )
    requests = [Request(sha256(str(i).encode()).hexdigest()) for i in range(count)]
    images = np.frombuffer(PIXELS, dtype=np.uint8).reshape(1, 1, 28, 28)
    with tempfile.TemporaryDirectory(prefix="tuition-benchmark-") as folder:
        ledger = open_ledger(f"{folder}/ledger.db")
        account = open_account(ledger, HttpTeacher(Format(), settings, window), settings, 10, count)
        outcome = loop.buy(
            account, requests, Standing(), lambda some: np.repeat(images, len(some), 0), lambda tally: None
        )
        ledger.close()
    assert outcome.new == count


async def bare(url: str, count: int, concurrency: int) -> None:
    """Ask `count` questions and read the answers, nothing else."""
    left = iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post(f"{url}/score", data=PIXELS) as answer:
                np.array([json.loads(await answer.read())], dtype=np.float32)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))


def timed(url: str, count: int, call: Any) -> dict[str, float]:
    """Calls a second of `call()`, in all and between the server's first and last fifth; and processor seconds a call on both sides."""
    before, cpu, begin = report(url), time.process_time(), time.perf_counter()
    call()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    after = report(url)
    came = after["came"]
    assert len(came) == count, f"{len(came)} requests for {count} calls"
    middle = came[count // 5 : count - count // 5]
    return {
        "rate": count / seconds,
        "steady": (len(middle) - 1) / (middle[-1] - middle[0]),
        "client_cpu": cpu / count,
        "server_cpu": (after["cpu"] - before["cpu"]) / count,
    }


def throughput(latency: float, concurrency: int, repeats: int, seconds: float, most: int) -> dict[str, Any]:
    """One cell: `buy` and `bare` in turn."""
    aim = concurrency / latency
    count = int(min(max(aim * seconds, 40), most))
    found: dict[str, list[dict[str, float]]] = {"buy": [], "charged": [], "bare": []}
    with server(latency) as url:
        for _ in range(repeats):
            found["bare"].append(timed(url, count, lambda: asyncio.run(bare(url, count, concurrency))))
            found["buy"].append(timed(url, count, lambda: buy(url, count, concurrency)))
            found["charged"].append(timed(url, count, lambda: buy(url, count, concurrency, idempotent=False)))
    share = {name: [one["rate"] / aim for one in runs] for name, runs in found.items()}
    middle = {name: statistics.median(one["steady"] for one in runs) for name, runs in found.items()}
    cpu = {
        f"{name}_{side}_us": round(1e6 * statistics.median(one[f"{side}_cpu"] for one in runs), 1)
        for name, runs in found.items()
        for side in ("client", "server")
    }
    return {
        "latency_ms": latency * 1000,
        "concurrency": concurrency,
        "calls": count,
        "aim": aim,
        "rate": statistics.median(one["rate"] for one in found["buy"]),
        "share": spread(share["buy"]),
        "share_steady": middle["buy"] / aim,
        "charged_share": spread(share["charged"]),
        "charged_share_steady": middle["charged"] / aim,
        "bare_share": spread(share["bare"]),
        "bare_share_steady": middle["bare"] / aim,
        "to_bare": spread([mine / theirs for mine, theirs in zip(share["buy"], share["bare"], strict=True)]),
        **cpu,
    }


def limited(per_window: int, window: float, windows: int, latency: float) -> dict[str, Any]:
    """Buy under a limit of `per_window` requests in `window` seconds for so many windows, two at least.

    The share of the rate that was reached is taken between requests that are a whole number of limits apart, so that neither a burst nor
    the pause behind it counts more than once: the median and the least over all of them.
    """
    count = per_window * windows
    with server(latency) as url:
        report(url)
        buy(url, count, 8, per_window=per_window, window=window)
        came = report(url)["came"]
    assert len(came) == count
    apart = per_window * (windows - 1)
    shares = [apart / (came[i + apart] - came[i]) / (per_window / window) for i in range(count - apart)]
    first, most = 0, 0
    for last, at in enumerate(came):
        while at - came[first] > window:
            first += 1
        most = max(most, last - first + 1)
    return {
        "limit": per_window,
        "window_s": window,
        "calls": count,
        "seconds": round(came[-1] - came[0], 2),
        "share": round(statistics.median(shares), 4),
        "least_share": round(min(shares), 4),
        "most_in_any_window": most,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latencies", type=float, nargs="*", default=[0.01, 0.1], help="seconds")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a run, where the aim is reached")
    parser.add_argument("--most", type=int, default=3000, help="calls in a run")
    parser.add_argument("--limits", nargs="*", default=["250:5:2"], help="requests:seconds of a window:windows to run")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        return asyncio.run(serve(args.serve))
    cells = []
    for latency in args.latencies:
        for concurrency in args.concurrency:
            cells.append(throughput(latency, concurrency, args.repeats, args.seconds, args.most))
            print(json.dumps(cells[-1]), flush=True)
    limits = []
    for text in args.limits:
        per_window, window, windows = text.split(":")
        limits.append(limited(int(per_window), float(window), int(windows), 0.01))
        print(json.dumps(limits[-1]), flush=True)
    _show(cells, limits)
    shown = {key: value for key, value in vars(args).items() if key != "serve"}
    load = [round(one, 2) for one in os.getloadavg()]
    save(
        "http_throughput",
        __doc__.strip().splitlines()[0],
        {**shown, "load_average": load},
        {"throughput": cells, "limits": limits},
    )
    for one in limits:
        assert one["most_in_any_window"] <= one["limit"], "above the stated limit"


def _show(cells: Sequence[dict[str, Any]], limits: Sequence[dict[str, Any]]) -> None:
    rows = [{key: one[key]["median"] if isinstance(one[key], dict) else one[key] for key in one} for one in cells]
    for some in (rows, limits):
        if some:
            table(some)


if __name__ == "__main__":
    main()

"""Claim: a function of 0.2 s latency is asked so many times at once: in flight ÷ latency calls a second, 0.9 of it at least.

The whole path with a ledger in SQLite, for a function that sleeps and for an `async` one, both of a teacher that is charged for each
call (not idempotent). The share counts the start and the canary, of which the first call goes alone.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from benchmarks.common import save, spread, table
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.params.teacher import FunctionSettings, teacher_settings
from tuition.purchase import loop
from tuition.purchase.account import open_account
from tuition.teachers import InProcess
from tuition.teachers.function import FunctionTeacher

CLASSES = 10


def answers(images: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Logits that differ from sample to sample, so that no check takes the teacher for a constant."""
    return np.array([[int(digit, 16) for digit in key[:CLASSES]] for key in keys], dtype=np.float32)


def waits(latency: float) -> Callable:
    def function(images: np.ndarray, keys: Sequence[str]) -> np.ndarray:
        time.sleep(latency)
        return answers(images, keys)

    return function


def awaits(latency: float) -> Callable:
    async def function(images: np.ndarray, keys: Sequence[str]) -> np.ndarray:
        await asyncio.sleep(latency)
        return answers(images, keys)

    return function


def rate(function: Callable, count: int, in_flight: int) -> float:
    """Calls a second over the purchase of `count` samples into a new ledger."""
    settings = teacher_settings(kind="python", function="mine:scores", batch_size=1, max_in_flight=in_flight)
    assert isinstance(settings, FunctionSettings)
    requests = [Request(sha256(str(i).encode()).hexdigest()) for i in range(count)]
    image = np.zeros((1, 1, 28, 28), np.uint8)
    teacher = InProcess(FunctionTeacher(function, settings), in_flight, settings.patience, settings.retry)
    with tempfile.TemporaryDirectory(prefix="tuition-benchmark-") as folder:
        ledger = open_ledger(f"{folder}/ledger.db")
        account = open_account(ledger, teacher, settings, CLASSES, count)
        begin = time.perf_counter()
        outcome = loop.buy(
            account, requests, Standing(), lambda some: np.repeat(image, len(some), 0), lambda tally: None
        )
        seconds = time.perf_counter() - begin
        ledger.close()
    assert outcome.new == count
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=50, help="of all places; a run has rounds × in flight calls")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for in_flight in args.in_flight:
        aim, count = in_flight / args.latency, args.rounds * in_flight
        for name, make in (("threads", waits), ("async", awaits)):
            shares = [rate(make(args.latency), count, in_flight) / aim for _ in range(args.repeats)]
            rows.append({"function": name, "in_flight": in_flight, "calls": count, "aim": aim, "share": spread(shares)})
    table([{**row, "share": row["share"]["median"]} for row in rows])
    load = [round(one, 2) for one in os.getloadavg()]
    save("function_throughput", __doc__.strip().splitlines()[0], {**vars(args), "load_average": load}, {"rows": rows})


if __name__ == "__main__":
    main()

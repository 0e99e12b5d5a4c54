"""Claim: with a million owned outputs the ledger answers in a second and exports 50,000 rows in three; how much larger it is than they are.

Each output is 100 float32 logits, bought in batches of 256 as a local teacher's are: reserved, marked as sent, finished. `together` are
50,000 samples that were bought one after the other, as a budget is, `spread` as many drawn from all. What a call costs in the ledger is
held against a ResNet-18's forward for one image of 3×224×224 at its best batch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, save, spread
from tuition.ledger import accounts, calls, exports, owned
from tuition.ledger.database import Ledger, open_ledger
from tuition.ledger.keys import Request

CLASSES = 100
PAYLOAD = 4 * CLASSES  # bytes of an output
PRICE = 0.002
STEPS = ("reserve_and_mark_sent", "finish")  # as tuition.purchase.reserver and .writer have them
TEACHER = {"fingerprint": "f" * 64, "name": "scale", "description": {}}


def request(number: int) -> Request:
    return Request(sha256(str(number).encode()).hexdigest())


def buy(ledger: Ledger, run: int, requests: Sequence[Request], logits: np.ndarray) -> dict[str, float]:
    """Own one batch; the seconds of each step. `logits` (len(requests), CLASSES)."""
    times = [time.perf_counter()]
    with ledger.write():
        made = calls.reserve(ledger, run, requests, cost=int(PRICE * 1e6))
        calls.mark_sent(ledger, run, made)
    times.append(time.perf_counter())
    calls.finish(ledger, run, made, [calls.Answer({"logits": row}, cost=int(PRICE * 1e6)) for row in logits])
    times.append(time.perf_counter())
    assert len(made) == len(requests)
    return dict(zip(STEPS, np.diff(times).tolist(), strict=True))


def fill(ledger: Ledger, teacher: int, count: int, batch: int) -> dict[str, Any]:
    """Own `count` outputs; microseconds a call, by step and by tenth of the way."""
    run, rng = calls.start_run(ledger, teacher, count), np.random.default_rng(0)
    taken: list[tuple[int, dict[str, float]]] = []
    for first in range(0, count, batch):
        ids = [request(i) for i in range(first, min(first + batch, count))]
        taken.append((len(ids), buy(ledger, run, ids, rng.normal(size=(len(ids), CLASSES)).astype(np.float32))))
        if first // batch % 400 == 0:
            print(f"{first + len(ids)} of {count}", flush=True)
    tenth = max(1, len(taken) // 10)
    return {
        "us_a_call": _micros(taken),
        "us_a_call_first_tenth": _micros(taken[:tenth]),
        "us_a_call_last_tenth": _micros(taken[-tenth:]),
    }


def _micros(taken: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    number = sum(size for size, _ in taken)
    by = {step: round(1e6 * sum(one[step] for _, one in taken) / number, 2) for step in STEPS}
    return {**by, "all": round(sum(by.values()), 2)}


def timed(repeats: int, call: Callable[[], object]) -> dict[str, Any]:
    """Seconds of `call()`; the first time is apart, for what it finds in no cache of ours."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return {"first": round(seconds[0], 4), **spread(seconds)}


def ask(place: Path, teacher: int, count: int, some: int, repeats: int) -> dict[str, Any]:
    """Seconds of what is asked of a full ledger."""
    ledger, rng = open_ledger(str(place)), np.random.default_rng(1)
    start = (count - some) // 2
    together = [request(i) for i in range(start, start + some)]
    apart = [request(int(i)) for i in rng.permutation(count + count // 5)[:some]]  # a sixth of these are not owned

    def export(requests: Sequence[Request]) -> None:
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            places, signals, costs = owned.read(ledger, teacher, requests, signals=["logits"])
            exports.write(Path(folder), [requests[i] for i in places], signals, costs, TEACHER)

    def command(*args: str) -> None:
        line = [sys.executable, "-m", "tuition.cli", "ledger", *args]
        environment = {**os.environ, "TUITION_LEDGER": str(place)}
        subprocess.run(line, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)

    assert set(owned.standing(ledger, teacher, together).states(together).values()) == {"owned"}
    found = {
        "standing_together_s": timed(repeats, lambda: owned.standing(ledger, teacher, together)),
        "standing_spread_s": timed(repeats, lambda: owned.standing(ledger, teacher, apart)),
        "export_together_s": timed(repeats, lambda: export(together)),
        "export_spread_s": timed(repeats, lambda: export(apart)),
        "status_s": timed(repeats, lambda: accounts.status(ledger)),
        "status_command_s": timed(repeats, lambda: command("status", "--json")),
        "any_command_s": timed(repeats, lambda: command("--help")),
        "verify_s": timed(1, lambda: accounts.verify(ledger)),
    }
    ledger.close()
    return found


def local_calls(place: Path, teacher: int, count: int, batches: Sequence[int], repeats: int) -> dict[str, Any]:
    """Microseconds a call in the full ledger, by the teacher's batch."""
    ledger, rng, next_one = open_ledger(str(place)), np.random.default_rng(2), 2 * count
    run, found = calls.start_run(ledger, teacher, 1 << 30), {}
    for batch in batches:
        taken = []
        for _ in range(repeats):
            ids = [request(next_one + i) for i in range(batch)]
            next_one += batch
            taken.append((batch, buy(ledger, run, ids, rng.normal(size=(batch, CLASSES)).astype(np.float32))))
        found[batch] = round(1e6 * statistics.median(sum(one.values()) for _, one in taken) / batch, 1)
    ledger.close()
    return found


def resnet18(batches: Sequence[int], seconds: float) -> dict[int, float]:
    """Microseconds an image of a torchvision ResNet-18's forward on 3×224×224 (CPU, all cores), by batch: medians."""
    import torch
    from torchvision.models import resnet18 as model

    network, found = model(weights=None).eval().to(memory_format=torch.channels_last), {}
    with torch.inference_mode():
        for batch in batches:
            images, taken = torch.rand(batch, 3, 224, 224).to(memory_format=torch.channels_last), []
            network(images)
            while sum(taken) < seconds or len(taken) < 3:
                begin = time.perf_counter()
                network(images)
                taken.append(time.perf_counter() - begin)
            found[batch] = round(1e6 * statistics.median(taken) / batch, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="outputs")
    parser.add_argument("--some", type=int, default=20_000, help="outputs that are asked for")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--forward-seconds", type=float, default=2.0, help="of each batch of the ResNet-18")
    parser.add_argument("--folder", help="where the ledger is made for the time being; default: the system's")
    args = parser.parse_args()
    load = [round(one, 2) for one in os.getloadavg()]
    with tempfile.TemporaryDirectory(prefix="tuition-benchmark-", dir=args.folder) as folder:
        place = Path(folder) / "ledger.db"
        ledger = open_ledger(str(place))
        teacher = accounts.open_account(ledger, TEACHER["fingerprint"], TEACHER["name"], {}, None)
        found: dict[str, Any] = {"fill": fill(ledger, teacher, args.count, args.batch)}
        ledger.close()
        size = sum(path.stat().st_size for path in place.parent.iterdir())
        found |= {"bytes": size, "bytes_to_payload": round(size / (args.count * PAYLOAD), 4)}
        print(json.dumps(found), flush=True)
        found["asked"] = ask(place, teacher, args.count, args.some, args.repeats)
        print(json.dumps(found["asked"]), flush=True)
        batches = [1, 2, 4, 8, 16, 32, 64]
        forward = resnet18(batches, args.forward_seconds)
        mine = local_calls(place, teacher, args.count, [*batches, args.batch], 7 * args.repeats)
    best = min(forward, key=lambda batch: forward[batch])
    found |= {
        "resnet18_us_an_image": forward,
        "resnet18_best_batch": best,
        "ledger_us_a_call": mine,
        "ledger_to_forward": {batch: round(us / forward[best], 5) for batch, us in mine.items()},
        "ledger_to_forward_at_best_batch": round(mine[best] / forward[best], 5),
    }
    print(json.dumps({key: found[key] for key in list(found)[-5:]}), flush=True)
    save("ledger_scale", __doc__.strip().splitlines()[0], {**vars(args), "load_average": load}, found)


if __name__ == "__main__":
    main()

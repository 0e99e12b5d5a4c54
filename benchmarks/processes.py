"""Claim: eight processes that share a ledger, on SQLite or PostgreSQL, keep a cap on calls or money to the call, and use it up.

Each is a `teach` in a clone of its own that wants other samples than the rest, more in all than the cap allows. They wait for one
another at their first call, so that all of them spend at once. What counts is the teacher's own bill.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Home, home, save, set_params, table
from benchmarks.counting_teacher import answer as count_and_answer
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger

READY, GO = (
    "READY",
    "GO",
)  # environment variables: a file that each process adds its number to, and one that lets them all on
PATIENCE = 300  # seconds for all processes to start
STATEMENT = "benchmarks.processes:answer"


def answer(images: np.ndarray, keys: list[str]) -> np.ndarray:
    """The counting teacher; the first call of a process waits until all processes are at theirs."""
    go = Path(os.environ[GO])
    if not go.exists():
        with open(os.environ[READY], "a") as ready:
            ready.write(f"{os.getpid()}\n")
        deadline = time.monotonic() + PATIENCE
        while not go.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the other processes did not start")
            time.sleep(0.005)
    return count_and_answer(images, keys)


answer.signals = ("logits",)  # type: ignore[attr-defined]


class Arm:
    """One engine and one cap: a new ledger, a bill of its own, and the processes that spend at once."""

    def __init__(self, place: Home, name: str, ledger: str, delay: float):
        self.place, self.folder, self.ledger = place, place.folder / name, ledger
        self.folder.mkdir()
        self.bill, self.ready, self.go = (self.folder / one for one in ("bill.txt", "ready.txt", "go"))
        self.more = {
            "TUITION_LEDGER": ledger,
            "BILL": str(self.bill),
            READY: str(self.ready),
            GO: str(self.go),
            "DELAY": str(delay),
        }

    def run(self, clones: list[Path], budget: int) -> dict[str, Any]:
        """Start `teach` in every clone, let them go together, and wait for all of them."""
        command = [sys.executable, "-m", "stages.teach", str(budget)]
        processes = []
        try:
            for clone in clones:
                environment = self.place.environment(clone, **self.more)
                log = (self.folder / f"{clone.name}.log").open("w")
                processes.append(subprocess.Popen(command, cwd=clone, env=environment, stdout=log, stderr=log))
                log.close()
            while len(_lines(self.ready)) < len(clones):
                if any(process.poll() is not None for process in processes):
                    raise SystemExit(f"a process ended before its first call:\n{self.said()}")
                time.sleep(0.01)
            begin = time.perf_counter()
            self.go.touch()
            codes = [process.wait() for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        stopped = [clone for clone, code in zip(clones, codes, strict=True) if code]
        for clone in stopped:
            said = (self.folder / f"{clone.name}.log").read_text()
            if "teacher.cap" not in said.splitlines()[-1]:
                raise SystemExit(f"a process failed, and not because of the cap:\n{said[-3000:]}")
        return {
            "seconds": round(time.perf_counter() - begin, 2),
            "ended_at_the_cap": len(stopped),
            "ended_with_all_they_wanted": len(clones) - len(stopped),
        }

    def said(self) -> str:
        return "\n".join(log.read_text()[-1000:] for log in sorted(self.folder.glob("*.log")))

    def account(self, price: float) -> dict[str, Any]:
        """The teacher's bill against the ledger."""
        received = [line.split() for line in _lines(self.bill)]
        ledger = open_ledger(self.ledger)
        status, wrong = accounts.status(ledger)[0], accounts.verify(ledger)
        ledger.close()
        assert not wrong, wrong
        by_process = sorted(sum(1 for one, _ in received if one == process) for process in {one for one, _ in received})
        return {
            "received": len(received),
            "distinct": len({key for _, key in received}),
            "billed": round(len(received) * price, 6),
            "done": status["calls"]["done"],
            "owned": status["samples"],
            "cost": status["cost"],
            "unknown": status["calls"]["unknown"],
            "refunded": status["calls"]["refunded"],
            "by_process": by_process,
        }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def _postgresql(url: str | None) -> Iterator[Any]:
    """Gives a function that returns the URL of an empty database: `url`, or new ones of a server started here."""
    if url:
        yield lambda: url
        return
    sys.path.append(str(ROOT / "tests"))
    import postgres  # the server that the tests use, here one that reaches the disk

    bin = postgres.binaries()
    if bin is None:
        raise SystemExit(
            "no PostgreSQL here: `apt-get install postgresql`, or name an empty database with --postgresql"
        )
    with postgres.server(bin, fsync="on", full_page_writes="on") as server:
        yield server.new_database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--cap", type=int, default=1000, help="calls")
    parser.add_argument("--money", type=float, default=300.0)
    parser.add_argument("--price", type=float, default=0.37, help="of a call")
    parser.add_argument("--budget", type=int, default=400, help="calls that each process wants")
    parser.add_argument("--batch", type=int, default=7)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds the teacher takes for a batch")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument(
        "--postgresql", help="URL of an empty database; default: a server of its own (one arm a database)"
    )
    args = parser.parse_args()
    found: dict[str, dict] = {}
    study = {
        "data.source": "mnist5k",
        "study.budgets": [args.budget],
        "teacher.kind": "python",
        "teacher.name": "counting",
        "teacher.function": STATEMENT,
        "teacher.price": args.price,
        "teacher.batch_size": args.batch,
        "teacher.canary": 1,
        "teacher.unchecked": ["labels", "repeats"],  # it knows nothing of the images, and each call is to be a sample
    }
    with home() as place, _postgresql(args.postgresql) as database:
        clones = [place.clone(f"study{i}", {**study, "teach.seed": i}) for i in range(args.processes)]
        place.run(clones[0], "stages.prepare")
        for clone in clones[1:]:
            shutil.copytree(clones[0] / "data", clone / "data", dirs_exist_ok=True)
        for engine in args.engines:
            for unit, cap in (("calls", args.cap), ("money", args.money)):
                for clone in clones:
                    set_params(clone, {"teacher.cap": {unit: cap}})
                name = f"{engine}, {unit}"
                ledger = database() if engine == "postgresql" else str(place.folder / f"{unit}.db")
                arm = Arm(place, name.replace(", ", "-"), ledger, args.delay)
                ran = arm.run(clones, args.budget)
                found[name] = {"cap": cap, **ran, **arm.account(args.price)}
                print(f"{name}: {found[name]}", flush=True)
    rows = [key for key in next(iter(found.values())) if key != "by_process"]
    table([{"": key, **{name: figures[key] for name, figures in found.items()}} for key in rows])
    shown = {key: value for key, value in vars(args).items() if key != "postgresql"}  # its URL may hold a password
    save("processes", " ".join(__doc__.strip().split("\n\n")[0].split()), shown, found)
    check(found, args)


def check(found: dict[str, dict], args: argparse.Namespace) -> None:
    for name, one in found.items():
        exactly = args.cap if name.endswith("calls") else int(args.money / args.price + 1e-9)
        assert one["received"] == one["distinct"] == one["done"] == one["owned"] == exactly, name
        assert one["billed"] == one["cost"] <= args.money or name.endswith("calls"), name
        assert len(one["by_process"]) == args.processes, f"{name}: not every process took part"


if __name__ == "__main__":
    main()

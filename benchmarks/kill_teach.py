"""Claim: `teach` may be killed (kill -9) at any moment: never more calls than the budget, and nothing that was answered is lost.

Half of the kills come at a moment drawn uniformly from the run's time, start-up included; half while it buys. An answer that
the teacher returned and that the ledger had not yet committed when the kill came is counted as `lost_in_commit`.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.common import COUNTING, Home, home, save, set_params, table
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger


class Arm:
    """One ledger and one bill in the shared clone."""

    def __init__(self, place: Home, folder: Path, name: str, delay: float):
        self.place, self.folder, self.ledger = place, folder, place.folder / f"{name}.db"
        self.bill = place.folder / f"{name}.txt"
        self.more = {"TUITION_LEDGER": str(self.ledger), "BILL": str(self.bill), "DELAY": str(delay)}
        self.kept = place.folder / name

    def launch(self, budget: int) -> subprocess.Popen:
        environment = self.place.environment(self.folder, **self.more)
        command = [sys.executable, "-m", "stages.teach", str(budget)]
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL)

    def lines(self, suffix: str = "") -> list[list[str]]:
        """[process, key] of each call received, or with ".answered" of each answer returned."""
        path = Path(f"{self.bill}{suffix}")
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def size(self) -> int:
        return self.bill.stat().st_size if self.bill.exists() else 0

    def first_call(self, process: subprocess.Popen, before: int) -> None:
        """Wait until this process has sent a call, or ended."""
        while self.size() == before and process.poll() is None:
            time.sleep(0.001)

    def export(self, budget: int) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / f"outputs/{budget}").iterdir())}

    def rows(self, budget: int) -> dict[bytes, bytes]:
        """{content id: its output} of the export."""
        ids, logits = (np.load(self.folder / f"outputs/{budget}/{name}.npy") for name in ("ids", "logits"))
        return {id: row.tobytes() for id, row in zip(ids, logits, strict=True)}


def kill(arm: Arm, budget: int, kills: int, start: float, window: float, rng: random.Random) -> dict:
    """Start and kill until it was killed `kills` times. `start`: seconds to the first call; `window`: of buying, a run."""
    killed = buying = ended = 0
    while killed < kills:
        before = arm.size()
        process = arm.launch(budget)
        wait = rng.uniform(0, start + window)
        if killed % 2 and not ended:
            arm.first_call(process, before)
            wait = rng.uniform(0, window)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            buying += arm.size() > before
            continue
        if process.returncode:
            raise SystemExit(f"teach ended by itself with {process.returncode}")
        ended += 1  # all is bought: what is left to kill is start-up
    return {"kills": killed, "while_buying": buying, "ended_before_the_kill": ended}


def account(arm: Arm, budget: int) -> dict:
    """The teacher's bill against the ledger."""
    ledger = open_ledger(str(arm.ledger))
    state = {call["key"]: call["state"] for call in accounts.listed(ledger, accounts.find(ledger, None).id)}
    status, wrong = accounts.status(ledger)[0], accounts.verify(ledger)
    ledger.close()
    assert not wrong, wrong
    received, answered = [key for _, key in arm.lines()], arm.lines(".answered")
    last = {key: process for process, key in answered}
    # The answer that counts is the last one; an earlier one of the same key was returned, not committed, and asked again.
    again = [process for process, key in answered if process != last[key]]
    lost = [process for key, process in last.items() if state.get(key) != "done"]
    return {
        "budget": budget,
        "received": len(received),
        "distinct_keys": len(set(received)),
        "answered": len(answered),
        "owned": status["samples"],
        "unknown": status["calls"]["unknown"],
        "refunded": status["calls"]["refunded"],
        "lost_in_commit": len(lost) + len(again),
        "kills_in_commit": len({*lost, *again}),
        "answered_and_not_owned": len(lost),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--delay", type=float, default=0.03, help="seconds the teacher takes for a batch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found: dict[str, dict] = {}
    with home() as place:
        study = {**COUNTING, "study.budgets": [args.budget], "teacher.batch_size": args.batch}
        folder = place.clone("study", study)
        place.run(folder, "stages.prepare")
        calm, begin = Arm(place, folder, "undisturbed", args.delay), time.perf_counter()
        process = calm.launch(args.budget)
        calm.first_call(process, 0)
        start = time.perf_counter() - begin
        if process.wait():
            raise SystemExit(f"teach ended with {process.returncode}")
        buying = time.perf_counter() - begin - start
        whole, rows = calm.export(args.budget), calm.rows(args.budget)
        for name, idempotent in (("idempotent", True), ("not idempotent", False)):
            set_params(folder, {"teacher.idempotent": idempotent})
            arm = Arm(place, folder, name.replace(" ", "-"), args.delay)
            killed = kill(arm, args.budget, args.kills, start, 1.5 * buying / args.kills, random.Random(args.seed))
            place.run(folder, "stages.teach", args.budget, **arm.more)
            owned = arm.rows(args.budget)
            found[name] = {
                **killed,
                **account(arm, args.budget),
                "owned_rows_identical": all(rows[id] == row for id, row in owned.items()),
                "export_identical": arm.export(args.budget) == whole,
            }
            if not idempotent:
                place.run(folder, "tuition.cli", "ledger", "resolve", "refunded", **arm.more)
                place.run(folder, "stages.teach", args.budget, **arm.more)
                found[name]["export_identical_once_resolved"] = arm.export(args.budget) == whole
    names = [key for key in found["not idempotent"]]
    table([{"": key, **{name: figures.get(key, "-") for name, figures in found.items()}} for key in names])
    timing = {"seconds_to_first_call": round(start, 2), "seconds_buying": round(buying, 2)}
    save("kill_teach", __doc__.strip().splitlines()[0], {**vars(args), **timing}, found)
    check(found, args.budget)


def check(found: dict[str, dict], budget: int) -> None:
    again, once = found["idempotent"], found["not idempotent"]
    assert again["distinct_keys"] <= budget
    assert again["export_identical"]
    assert again["owned"] == budget
    assert once["received"] == once["distinct_keys"] <= budget, "a call was sent twice"
    assert once["owned_rows_identical"]
    assert once["export_identical_once_resolved"]


if __name__ == "__main__":
    main()

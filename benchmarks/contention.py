"""Claim: two trainings at once share the machine, and do not stop each other by spinning (GOMP_SPINCOUNT, see stages/__init__.py).

`libgomp` loads torch before the project sets anything, so OpenMP's own default holds; `project` is the project's default.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.common import COUNTING, Home, home, save, spread, table

START = "import runpy, sys; import {first}; sys.argv = ['train', *sys.argv[1:]]; runpy.run_module('stages.train', run_name='__main__')"
FIRST = {"libgomp": "torch", "project": "stages"}


def train(place: Home, folder: Path, arm: str, cells: list[str]) -> list[float]:
    """Milliseconds a step of these cells, trained all at once."""
    environment = place.environment(folder)
    environment.pop("GOMP_SPINCOUNT", None)
    command = [sys.executable, "-c", START.format(first=FIRST[arm])]
    running = [
        subprocess.Popen([*command, *cell.split("-")], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        for cell in cells
    ]
    if any([process.wait() for process in running]):
        raise SystemExit(f"training failed: {cells}")
    return [1000 / json.loads((folder / f"speed/{cell}.json").read_text())["steps_per_second"] for cell in cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=2, help="training processes")
    parser.add_argument("--budget", type=int, default=200)
    args = parser.parse_args()
    changes = {
        **COUNTING,
        "study.budgets": [args.budget],
        "study.methods": ["kd"],
        "study.seeds": list(range(args.at_once)),
        "train.steps": args.steps,
        "train.validate_every": args.steps,
    }
    times: dict[tuple[str, int], list[float]] = {}
    with home() as place:
        folder = place.clone("study", changes)
        for stage in (("prepare",), ("teach", args.budget), ("compare", args.budget)):
            place.run(folder, f"stages.{stage[0]}", *stage[1:])
        cells = [f"{args.budget}-kd-{seed}" for seed in range(args.at_once)]
        for _ in range(args.runs):
            for arm in FIRST:
                for count in (1, args.at_once):
                    times.setdefault((arm, count), []).extend(train(place, folder, arm, cells[:count]))
    rows = [
        {"default": arm, "processes": count, "ms_per_step": spread(values)} for (arm, count), values in times.items()
    ]
    table([{**row, "ms_per_step": row["ms_per_step"]["median"], "n": row["ms_per_step"]["n"]} for row in rows])
    save("contention", __doc__.strip().splitlines()[0], vars(args), rows)


if __name__ == "__main__":
    main()

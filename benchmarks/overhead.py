"""Claim: a cell's process costs little beside its training: at most 6 s from start to first step plus last step to exit.

`after_last_step` begins when the last step and its validation are done. `evaluate` is that stage's whole time, start to exit.
"""

import argparse
import json
import time

from benchmarks.common import COUNTING, home, save, spread, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--methods", nargs="*", default=["kd"])
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    changes = {**COUNTING, "study.budgets": [args.budget], "study.methods": args.methods, "train.steps": args.steps}
    found = {}
    with home() as place:
        folder = place.clone("study", changes)
        for stage in (("prepare",), ("teach", args.budget), ("compare", args.budget)):
            place.run(folder, f"stages.{stage[0]}", *stage[1:])
        for method in args.methods:
            cell, runs = (args.budget, method, 0), []
            for _ in range(args.runs):
                begin = time.perf_counter()
                place.run(folder, "stages.train", *cell)
                wall = time.perf_counter() - begin
                speed = json.loads((folder / f"speed/{args.budget}-{method}-0.json").read_text())
                begin = time.perf_counter()
                place.run(folder, "stages.evaluate", *cell)
                evaluate = time.perf_counter() - begin
                first, steps = speed["startup_seconds"], speed["seconds"]
                runs.append((first, wall - first - steps, wall - steps, evaluate))
            names = ("start_to_first_step", "after_last_step", "overhead", "evaluate")
            found[method] = {
                name: spread(list(values)) for name, values in zip(names, zip(*runs, strict=True), strict=True)
            }
    table(
        [
            {"method": method, "seconds": name, **{key: figures[key] for key in ("n", "median", "min", "max")}}
            for method, parts in found.items()
            for name, figures in parts.items()
        ]
    )
    save("overhead", __doc__.strip().splitlines()[0], vars(args), found)


if __name__ == "__main__":
    main()

"""`multi-kd` and its controls: a large and a small teacher asked for the same samples, against one of them at as many calls, and at half.

The teachers resnet8 and resnet20 are trained by the pretrain stage. A sample costs two calls where both answer, so that `multi-kd` sees
half of the samples that its budget would buy of one.
"""

import argparse
import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

from benchmarks.common import Home, home, save, set_params, table
from benchmarks.methods import cell, quiet, summary
from benchmarks.study import change

SEVERAL: dict[str, dict[str, Any]] = {
    "multi-kd": {},
    "multi-kd-losses": {"method": "multi-kd", "combine": "losses"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-S", dest="changes", metavar="key=value", type=change, action="append", default=[])
    parser.add_argument("--calls", type=int, nargs="+", default=[200, 800])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    base: dict[str, Any] = {
        **dict(args.changes),
        "study.methods": ["kd", *SEVERAL],
        "methods": {"kd": {}, **SEVERAL},
        "compare.sets": {},
    }
    rows = []
    for calls in args.calls:
        with home() as place:
            done = cells(place.clone("study", base), place, calls, args)
        for name in ("kd", "kd-half", *SEVERAL):
            rows.append(summary(done, calls, name, args.seeds, baselines=("kd", "kd-half")))
            print(json.dumps(rows[-1]), flush=True)
    table(
        [{key: row[key] for key in ("budget", "method", "top1", "low", "high", "to_kd", "to_kd-half")} for row in rows]
    )
    save(
        "several_teachers", __doc__.strip().splitlines()[0], {"changes": dict(args.changes), "calls": args.calls}, rows
    )


def cells(folder: Path, place: Home, calls: int, args: argparse.Namespace) -> dict[str, Any]:
    """Every cell at so many calls: `kd` of the large teacher alone, and all methods on half of the samples, each asked of both."""
    place.repro(folder, "-s", "prepare")
    for name, arch in (("small", "resnet8"), ("large", "resnet20")):
        set_params(folder, {"teacher.arch": arch})
        place.run(folder, "stages.pretrain")
        shutil.copy(folder / "teacher/weights.safetensors", folder / f"{name}.safetensors")
    small = {"kind": "checkpoint", "name": "small", "arch": "resnet8", "weights": "small.safetensors"}
    large = {"teacher.name": "large", "teacher.weights": "large.safetensors"}
    done: dict[str, Any] = {}
    halves: tuple[tuple[int, list[str], list[dict[str, str]]], ...] = (
        (calls, ["kd"], []),
        (calls // 2, ["kd", *SEVERAL], [small]),
    )
    for budget, names, teachers in halves:
        set_params(folder, {**large, "teachers": teachers, "study.methods": names, "study.budgets": [budget]})
        place.run(folder, "stages.teach", budget)
        place.run(folder, "stages.compare", budget)
        jobs = [(str(folder), budget, name, seed) for name in names for seed in range(args.seeds)]
        with multiprocessing.get_context("spawn").Pool(args.workers, initializer=quiet) as pool:
            for key, row in pool.imap_unordered(cell, jobs):
                _, name, seed = key.split("/")
                called = "kd-half" if name == "kd" and budget < calls else name
                done[f"{calls}/{called}/{seed}"] = row
    return done


if __name__ == "__main__":
    main()

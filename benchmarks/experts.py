"""`ces-kd` and its controls: which expert answers (by difficulty, against it, at random, all), and in which order samples are distilled.

Experts resnet8 and resnet20 and a free resnet8 of another seed are trained by the pretrain stage; every choice of expert is a teacher
with an account of its own. The mean of both experts costs two calls a sample, so its cells get half as many samples.
"""

import argparse
import json
import multiprocessing
import shutil
from typing import Any

from benchmarks.common import home, save, set_params, table
from benchmarks.methods import cell, quiet, summary
from benchmarks.study import change

ORDERS = {
    "ces-kd": {},
    "ces-kd-hard-first": {"method": "ces-kd", "order": "hard-first"},
    "ces-kd-all-at-once": {"method": "ces-kd", "order": "none"},
}
CHOICES = ("difficulty", "anti", "random", "mean")
FREE_SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-S", dest="changes", metavar="key=value", type=change, action="append", default=[])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    base: dict[str, Any] = {
        **dict(args.changes),
        "study.methods": ["ce", "kd", *ORDERS],
        "methods": {"ce": {}, "kd": {}, **ORDERS},
        "compare.sets": {},
    }
    rows = []
    with home() as place:
        folder = place.clone("study", base)
        place.repro(folder, "-s", "prepare")
        files = {}
        for name, arch, seed in (("small", "resnet8", 0), ("large", "resnet20", 0), ("free", "resnet8", FREE_SEED)):
            set_params(folder, {"teacher.arch": arch, "pretrain.seed": seed})
            place.run(folder, "stages.pretrain")
            shutil.copy(folder / "teacher/weights.safetensors", folder / f"{name}.safetensors")
            files[name] = {"arch": arch, "weights": f"{name}.safetensors"}
        experts = {
            "teacher.kind": "experts",
            "teacher.experts": [files["small"], files["large"]],
            "teacher.free": files["free"],
        }
        for choice in CHOICES:
            budget = args.calls // (2 if choice == "mean" else 1)
            set_params(folder, {**experts, "teacher.choose": choice, "study.budgets": [budget]})
            place.run(folder, "stages.teach", budget)
            place.run(folder, "stages.compare", budget)
            jobs = [(str(folder), budget, m, s) for m in ("ce", "kd", *ORDERS) for s in range(args.seeds)]
            with multiprocessing.get_context("spawn").Pool(args.workers, initializer=quiet) as pool:
                done = dict(pool.imap_unordered(cell, jobs))
            for name in ("ce", "kd", *ORDERS):
                rows.append({"choose": choice, **summary(done, budget, name, args.seeds, baselines=("kd",))})
            print(json.dumps(rows[-1]), flush=True)
    table([{key: row[key] for key in ("choose", "budget", "method", "top1", "low", "high", "to_kd")} for row in rows])
    save(
        f"experts_{args.calls}",
        __doc__.strip().splitlines()[0],
        {"changes": dict(args.changes), "calls": args.calls},
        rows,
    )


if __name__ == "__main__":
    main()

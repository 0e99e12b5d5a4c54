"""What each purchase strategy buys: test top-1 of `kd` students at each budget over seeds, and the paired difference to `random`.

A seed is that of the purchase and of the training. `kcenter` and `uncertain` draw nothing but ties, so `kcenter` buys the same for every
seed; the student that guides `uncertain` is that of `random` at the smallest budget and the same seed. Its calls come on top: the
column `calls` has the mean of all that were paid. `then-uncertain` buys them first (strategy `file`) and so pays the budget alone.
Everything runs in one process with one thread, in a temporary clone.
"""

import argparse
import contextlib
import io
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Home, home, save, set_params, table
from benchmarks.methods import cell, quiet, score, summary
from benchmarks.study import change

GUIDE, LIST = "guide", "order.txt"
STRATEGIES: dict[str, dict[str, Any]] = {  # the keys of `teach`
    "random": {},
    "balanced": {},
    "kcenter": {},
    "uncertain": {"student": GUIDE, "watch": GUIDE},
    "then-uncertain": {"strategy": "file", "order": LIST, "watch": LIST},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-S", dest="changes", metavar="key=value", type=change, action="append", default=[])
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 100, 400])
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    budgets = sorted(args.budgets)
    cells = [
        (b, n) for b in budgets for n in STRATEGIES if (b, n) != (budgets[0], "then-uncertain")
    ]  # that is `random`
    done: dict[str, dict[str, float]] = {}
    quiet()
    with home() as place:
        folder = place.clone("study", {**dict(args.changes), "study.methods": ["kd"], "study.budgets": budgets})
        place.repro(folder, "-s", "prepare", "pretrain")
        enter(place, folder)
        teacher = score(folder, None)
        for seed in range(args.seeds):
            paid: set[int] = set()  # for the guide
            for budget, name in cells:
                row = one(folder, name, budget, seed)
                bought = set(np.load(f"outputs/{budget}/positions.npy").tolist())
                if (budget, name) == (budgets[0], "random"):
                    paid = bought
                    shutil.rmtree(GUIDE, ignore_errors=True)
                    shutil.copytree(f"students/{budget}-kd-{seed}", GUIDE)
                    write_list(bought, seed)
                row["calls"] = len(bought | paid) if name == "uncertain" else len(bought)
                done[f"{budget}/{name}/{seed}"] = row
                print(f"{len(done)}/{len(cells) * args.seeds} {budget}/{name}/{seed}: {row}", flush=True)
    rows = [outcome(done, budget, name, args.seeds) for budget, name in cells]
    shown = ("budget", "method", "calls", "top1", "low", "high", "to_random", "to_random_low", "to_random_high")
    table([{key: row[key] for key in shown} for row in rows])
    save(
        "strategies",
        __doc__.strip().splitlines()[0],
        {"changes": dict(args.changes), "budgets": budgets, "seeds": args.seeds},
        {"teacher_top1": teacher, "rows": rows},
    )


def enter(place: Home, folder: Path) -> None:
    """Make the clone this process's workspace, and its ledger this process's ledger."""
    os.environ.update({key: value for key, value in place.environment(folder).items() if key != "PYTHONPATH"})
    os.chdir(folder)


def one(folder: Path, name: str, budget: int, seed: int) -> dict[str, float]:
    """Buy by the strategy, and train and test a student on it: {top1, val_top1, step_ms}."""
    from stages.compare.__main__ import main as compare
    from stages.teach.__main__ import main as teach

    keys = {"strategy": name, "seed": seed, "student": None, "order": None, "watch": "tuition/files.py"} | STRATEGIES[
        name
    ]
    set_params(folder, {f"teach.{key}": value for key, value in keys.items()})
    with contextlib.redirect_stdout(io.StringIO()):
        for stage in (teach, compare):
            stage([str(budget)])
    return cell((str(folder), budget, "kd", seed))[1]


def write_list(bought: set[int], seed: int) -> None:
    """The list of `then-uncertain`: what the guide was trained on, and then what it is least sure of."""
    from tuition.files import read_array, read_json
    from tuition.inputs.kinds import workspace_inputs
    from tuition.selection.order import purchase_order

    images, labels, ids = (read_array(Path(f"data/train/{name}.npy")) for name in ("images", "labels", "ids"))
    classes = read_json(Path("data/meta.json"))["classes"]
    inputs = workspace_inputs()
    order = purchase_order("uncertain", ids, labels, seed, inputs=inputs, samples=images, classes=classes, guide=GUIDE)
    rows = [*sorted(bought), *(row for row in order.tolist() if row not in bought)]
    Path(LIST).write_text("".join(f"{ids[row].decode()}\n" for row in rows))


def outcome(done: dict[str, Any], budget: int, name: str, seeds: int) -> dict[str, Any]:
    """The strategy's mean, interval and difference to `random`, with the mean number of calls that it took."""
    calls = float(np.mean([done[f"{budget}/{name}/{seed}"]["calls"] for seed in range(seeds)]))
    return summary(done, budget, name, seeds, baselines=("random",)) | {"calls": calls}


if __name__ == "__main__":
    begin = time.perf_counter()
    main()
    print(f"{time.perf_counter() - begin:.0f} s")

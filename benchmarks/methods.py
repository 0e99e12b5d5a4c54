"""Every method on one footing: test top-1 at each budget over seeds, and paired differences to `ce` and `kd`.

Data, teacher and purchase are the pipeline's own stages in a temporary clone; the students are then trained by the train stage's
own function, a few at a time in processes of one thread each. `-S key=value` changes a parameter, `--only` runs some methods.
Results are kept cell by cell beside the result file while it runs, so that a run that was stopped goes on.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, ROOT, home, save, table
from benchmarks.study import change

VARIANTS: dict[str, dict[str, Any]] = {  # beside every method with its defaults
    "mse-centred": {"method": "mse", "centred": True},
    "ckd-mse-as-released": {"method": "ckd-mse", "labels": "difference"},
    "ckd-mse-no-labels": {"method": "ckd-mse", "labels": "none"},
    "ckd-mse-anchored": {"method": "ckd-mse", "labels": "none", "anchor": 1.0},
    "ckd-kl-ce": {"method": "ckd-kl", "labels": "ce"},
    "ckd-kl-ce-pairs": {"method": "ckd-kl", "labels": "ce"},
    "icd+kd": {},
    "rrd+kd": {},
    "rrd-2024": {"method": "rrd", "temperature_student": 0.04, "temperature_teacher": 0.1},
    "crd+kd": {},
    "rkd+kd": {},
    "dist+kd": {},
}
SETS = {
    "ckd-mse": {"strategy": "in-batch", "k": 2},
    "ckd-kl": {"strategy": "random", "k": 3},
    "ckd-kl-ce-pairs": {"strategy": "in-batch", "k": 2},
    **{name: {"strategy": "in-batch", "k": 2} for name in ("ckd-fitnet", "ckd-vid", "ckd-cc")},
}
BATCH = 500  # test images at a time
ELSEWHERE = ("ces-kd", "multi-kd")  # need several teachers; benchmarks/experts.py is for the first
SHIPPED = {"ckd-mse": {"labels": "ce"}}  # where params.yaml departs from a method's own defaults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the result")
    parser.add_argument("-S", dest="changes", metavar="key=value", type=change, action="append", default=[])
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="methods; ce and kd are always run")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    names = chosen(args.only)
    cells_file = RESULTS / f"{args.name}.cells.json"
    with home() as place:
        folder = place.clone("study", dict(args.changes) | params(names, args.budgets))
        place.repro(folder, "-s", "prepare", "pretrain")
        for stage in ("teach", "compare"):
            place.repro(folder, "-s", *(f"{stage}@{budget}" for budget in args.budgets))
        spend = {budget: json.loads((folder / f"spend/{budget}.json").read_text()) for budget in args.budgets}
        teacher = score(folder, None)
        done = json.loads(cells_file.read_text()) if cells_file.exists() else {}
        todo = [
            (str(folder), b, m, s)
            for s in range(args.seeds)
            for b in args.budgets
            for m in names
            if f"{b}/{m}/{s}" not in done
        ]
        with multiprocessing.get_context("spawn").Pool(args.workers, initializer=quiet) as pool:
            for number, (key, row) in enumerate(pool.imap_unordered(cell, todo), start=1):
                done[key] = row
                cells_file.write_text(json.dumps(done))
                print(f"{number}/{len(todo)} {key}: {row}", flush=True)
    rows = [summary(done, budget, name, args.seeds) for budget in args.budgets for name in names]
    table([{key: row[key] for key in ("budget", "method", "top1", "low", "high", "to_ce", "to_kd")} for row in rows])
    save(
        args.name,
        __doc__.strip().splitlines()[0],
        {"changes": dict(args.changes), **vars(args) | {"changes": None}},
        {"teacher_top1": teacher, "spend": spend, "rows": rows},
    )
    cells_file.unlink()


def chosen(only: list[str] | None) -> list[str]:
    """The methods that are measured, `ce` and `kd` first."""
    from tuition.methods import METHODS

    every = ["ce", "kd", *(name for name in [*METHODS, *VARIANTS] if name not in ("ce", "kd", *ELSEWHERE))]
    return [name for name in every if only is None or name in ("ce", "kd", *only)]


def params(names: list[str], budgets: list[int]) -> dict[str, Any]:
    """params.yaml's changes for these methods: all signals that they read are bought at once."""
    from tuition.methods import build, card, resolve

    sections = {name: VARIANTS.get(name, SHIPPED.get(name, {})) for name in names}
    signals = {signal for name in names for signal in build(name, sections[name]).signals}
    mixed = any(card(resolve(name, sections[name]).method).views == "mixed" for name in names)
    sets = {name: one for name, one in SETS.items() if name in names or name in ("ckd-mse", "ckd-kl")}
    return {
        "study.methods": names,
        "study.budgets": budgets,
        "methods": sections,
        "compare.sets": sets,
        "teach.mixed": mixed,
        "teacher.signals": ["logits", "embedding", *sorted(signals - {"logits", "embedding"})],
    }


def quiet() -> None:
    import torch

    torch.set_num_threads(1)


def cell(job: tuple[str, int, str, int]) -> tuple[str, dict[str, float]]:
    """Train and test one cell: {top1, val_top1, step_ms}."""
    folder, budget, name, seed = job
    os.chdir(folder)
    import contextlib
    import io

    from stages.train.__main__ import train_cell
    from tuition import params as parameters
    from tuition.workspace import cell_name

    with contextlib.redirect_stdout(io.StringIO()):
        done, speed, model, meta = train_cell(parameters.load(), budget, name, seed)
    weights = Path("students") / cell_name(budget, name, seed)
    from tuition.training.student import write_student

    write_student(weights, done.best, meta, done.history, model)
    row = {"top1": score(Path(folder), weights), "val_top1": meta["val_top1"]}
    return f"{budget}/{name}/{seed}", row | {"step_ms": round(1000 / speed["steps_per_second"], 2)}


def score(folder: Path, student: Path | None) -> float:
    """Test top-1 of the student in a folder, or of the teacher that `pretrain` made."""
    import torch

    from stages.evaluate.__main__ import predict
    from stages.evaluate.metrics import top_k
    from tuition.models import load_student, load_weights, make

    if student is None:
        made = json.loads((folder / "teacher/meta.json").read_text())
        model = make(made)
        load_weights(model, folder / "teacher/weights.safetensors")
        model.eval()
    else:
        model, made = load_student(folder / student)
    images, labels = (np.load(folder / f"data/test/{name}.npy") for name in ("images", "labels"))
    logits, _ = predict(model, images, made, BATCH, torch.device("cpu"))
    return top_k(logits, labels, 1)


def summary(
    done: dict[str, Any], budget: int, name: str, seeds: int, baselines: tuple[str, ...] = ("ce", "kd")
) -> dict[str, Any]:
    """A method at a budget: mean top-1 in %, its 95 % interval over seeds, and paired differences to baselines with theirs."""
    values = top1(done, budget, name, seeds)
    mean, low, high, _ = interval(values)
    row: dict[str, Any] = {"budget": budget, "method": name, "n": seeds, "top1": mean, "low": low, "high": high}
    for base in baselines:
        mean, low, high, p = interval(values - top1(done, budget, base, seeds))
        row |= {f"to_{base}": mean, f"to_{base}_low": low, f"to_{base}_high": high, f"to_{base}_p": p}
    return row | {"values": [round(float(value), 3) for value in values]}


def top1(done: dict[str, Any], budget: int, name: str, seeds: int) -> np.ndarray:
    """Test top-1 in % by seed."""
    return np.array([100 * done[f"{budget}/{name}/{seed}"]["top1"] for seed in range(seeds)])


def interval(values: np.ndarray) -> tuple[float, float, float, float | None]:
    """Mean, 95 % interval, and the p value of the mean being zero; of one value or equal ones the interval has no width."""
    from stages.report import study

    mean, low, high, _ = study.interval(values.tolist())
    if np.isnan(low):
        return round(mean, 3), round(mean, 3), round(mean, 3), None
    return round(mean, 3), round(low, 3), round(high, 3), study.p_value(values.tolist())


if __name__ == "__main__":
    begin = time.perf_counter()
    main()
    print(f"{time.perf_counter() - begin:.0f} s; {ROOT.name}")

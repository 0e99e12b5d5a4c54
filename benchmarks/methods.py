"""Every method on one footing: test top-1 at each budget over seeds, and paired differences to `ce` and `kd`.

Data, teacher and purchase are the pipeline's own stages in a temporary clone; the students are then trained by the train stage's
own function, a few at a time in processes of one thread each. `-S key=value` changes a parameter, `--only` runs some methods.
Results are kept cell by cell beside the result file while it runs, so that a run that was stopped goes on. With `--merge` the rows of
`--only` take their places in the result that is there, paired by seed with its `ce` and `kd`; these are trained again for the first seed
alone, to see that they still come out as they stand.
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
BASELINES = ("ce", "kd")
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
    parser.add_argument(
        "--merge", action="store_true", help="into the result that is there, which keeps its other rows"
    )
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    names, old = chosen(args.only), standing(args) if args.merge else None
    cells_file = RESULTS / f"{args.name}.cells.json"
    with home() as place:
        folder = place.clone("study", dict(args.changes) | params(names, args.budgets))
        place.repro(folder, "-s", "prepare", "pretrain")
        for stage in ("teach", "compare"):
            place.repro(folder, "-s", *(f"{stage}@{budget}" for budget in args.budgets))
        spend = {budget: json.loads((folder / f"spend/{budget}.json").read_text()) for budget in args.budgets}
        teacher = score(folder, None)
        done = json.loads(cells_file.read_text()) if cells_file.exists() else {}
        every = [(b, m, s) for s in range(args.seeds) for b in args.budgets for m in names]
        first = [one for one in every if one[1] in BASELINES and one[2] == 0]
        for some in (first, [one for one in every if old is None or one[1] not in BASELINES]):
            todo = [(str(folder), *one) for one in some if "{}/{}/{}".format(*one) not in done]
            with multiprocessing.get_context("spawn").Pool(args.workers, initializer=quiet) as pool:
                for number, (key, row) in enumerate(pool.imap_unordered(cell, todo), start=1):
                    done[key] = row
                    cells_file.write_text(json.dumps(done))
                    print(f"{number}/{len(todo)} {key}: {row}", flush=True)
            if old is not None and some == first:
                check_standing(done, old)
    if old is not None:
        names = fill(done, old, names)
    rows = [summary(done, budget, name, args.seeds) for budget in args.budgets for name in names]
    table([{key: row[key] for key in ("budget", "method", "top1", "low", "high", "to_ce", "to_kd")} for row in rows])
    save(
        args.name,
        __doc__.strip().splitlines()[0],
        vars(args) | {"changes": dict(args.changes)},
        {"teacher_top1": teacher, "spend": spend, "rows": rows},
    )
    if old is not None:
        merge(args, old)
    cells_file.unlink()


def standing(args: argparse.Namespace) -> dict[str, Any]:
    """The result that is there. Stops the benchmark where its budgets or seeds are others."""
    old: dict[str, Any] = json.loads((RESULTS / f"{args.name}.json").read_text())
    found = {row["budget"] for row in old["figures"]["rows"]}, {row["n"] for row in old["figures"]["rows"]}
    if not args.only or found != (set(args.budgets), {args.seeds}):
        raise SystemExit(f"--merge needs --only, and the budgets and seeds of the result that is there: {found}")
    return old


def check_standing(done: dict[str, Any], old: dict[str, Any]) -> None:
    """Stop the benchmark where the baselines' first seed gives other figures than stand in the result: rows would be paired wrongly."""
    for row in old["figures"]["rows"]:
        if row["method"] in BASELINES:
            now = round(100 * done[f"{row['budget']}/{row['method']}/0"]["top1"], 3)
            if now != row["values"][0]:
                raise SystemExit(
                    f"{row['method']} at {row['budget']}, seed 0: {now} now, {row['values'][0]} in the result; measure every method again"
                )


def fill(done: dict[str, Any], old: dict[str, Any], names: list[str]) -> list[str]:
    """Add the result's cells of all that was not measured again to `done`; returns the methods of both in their order."""
    again = set(names) - set(BASELINES)
    for row in old["figures"]["rows"]:
        if row["method"] not in again:
            cells = {f"{row['budget']}/{row['method']}/{seed}": one for seed, one in enumerate(row["values"])}
            done |= {key: {"top1": one / 100} for key, one in cells.items()}
    there = {row["method"] for row in old["figures"]["rows"]} | again
    return [name for name in chosen(None) if name in there]


def merge(args: argparse.Namespace, old: dict[str, Any]) -> None:
    """The result just written keeps what the older one says of itself, and says what was measured again, where and by which command."""
    path = RESULTS / f"{args.name}.json"
    new = json.loads(path.read_text())
    said = {key: new[key] for key in ("command", "machine", "commit", "changed_since_commit")}
    old["figures"]["rows"] = new["figures"]["rows"]
    old.setdefault("measured_again", []).append({"methods": args.only, **said})
    path.write_text(json.dumps(old, indent=1) + "\n")


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

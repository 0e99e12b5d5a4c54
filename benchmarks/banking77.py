"""Students of texts on Banking77 with a stored teacher: what the bought texts alone give, and what the rest of the pool adds.

`python -m benchmarks.banking77 FOLDER`, which holds train.csv, test.csv (text, category) and minilm_head_logits.npz (train, test: logits of
the teacher, a column a class in the order of their names). A seed is that of the students; every cell sees the same bought texts.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from scipy import stats

from benchmarks.common import Home, home, save, table

REGIMES: dict[str, dict[str, Any]] = {"few": {}, "pool": {"rest": "estimated", "rest_share": 0.75}}  # keys of `train`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[400])
    parser.add_argument("--methods", nargs="+", default=["kd"])
    parser.add_argument("--students", nargs="+", default=["text-cnn"])
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=list(REGIMES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    rows = []
    with home() as place:
        folder = place.folder / "study"
        folder.mkdir()
        teacher = write_tables(args.data, folder)
        write_params(folder, args, args.students[0], args.regimes[0])
        run(place, folder, "prepare", "transfer", "encode")
        for budget in args.budgets:
            run(place, folder, f"teach {budget}", f"estimate {budget}", f"compare {budget}")
            for student in args.students:
                for regime in args.regimes:
                    write_params(folder, args, student, regime)
                    for method in args.methods:
                        cell = {"regime": regime, "budget": budget, "method": method, "student": student}
                        rows.append(cell | outcome(place, folder, budget, method, args.seeds))
                        print(rows[-1], flush=True)
    table(rows)
    settings = {key: value for key, value in vars(args).items() if key != "data"}
    save("text_banking77", __doc__.strip().splitlines()[0], settings, {"teacher_top1": teacher, "rows": rows})


def write_tables(data: Path, folder: Path) -> float:
    """The texts with labels and splits, and the teacher's answers to them; returns how often it is right on test."""
    answers = np.load(data / "minilm_head_logits.npz")
    texts: list[tuple[str, str, str]] = []
    for split in ("train", "test"):
        with (data / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            texts += [(row["text"], row["category"], split) for row in csv.DictReader(file)]
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "split"), *texts])
    logits = np.concatenate([answers["train"], answers["test"]]).astype(np.float32)
    columns = {"text": [text for text, _, _ in texts], "logits": logits.tolist()}
    parquet.write_table(pa.table(columns), folder / "answers.parquet")
    classes = sorted({label for _, label, _ in texts})
    right = [
        classes[row.argmax()] == label for row, (_, label, split) in zip(logits, texts, strict=True) if split == "test"
    ]
    return float(np.mean(right))


def write_params(folder: Path, args: argparse.Namespace, student: str, regime: str) -> None:
    training = {"steps": args.steps, "optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01, **REGIMES[regime]}
    sections: dict[str, Any] = {
        "study": {"budgets": args.budgets, "methods": args.methods, "seeds": list(range(args.seeds))},
        "data": {"source": "csv:texts.csv", "columns": {"text": "text"}},
        "encode": {"source": "tfidf"},
        "teacher": {"kind": "table", "name": "minilm", "path": "answers.parquet"},
        "estimate": {"estimator": "auto"},
        "compare": {"sets": {one: {"strategy": "in-batch", "k": 2} for one in args.methods if one.startswith("ckd")}},
        "student": {"arch": student},
        "train": training,
        "methods": {one: {} for one in args.methods},
    }
    (folder / "params.yaml").write_text(json.dumps(sections))  # which is YAML too


def run(place: Home, folder: Path, *stages: str) -> None:
    for one in stages:
        name, *more = one.split()
        place.run(folder, f"stages.{name}", *more, PYTHONPATH=str(place.origin))


def outcome(place: Home, folder: Path, budget: int, method: str, seeds: int) -> dict[str, Any]:
    """n, and the mean test top-1 with its 95 % interval (Student's t); one seed has none."""
    found = []
    for seed in range(seeds):
        run(place, folder, f"train {budget} {method} {seed}", f"evaluate {budget} {method} {seed}")
        figures = json.loads((folder / f"results/{budget}-{method}-{seed}/metrics.json").read_text())
        found.append(figures["top1"])
    mean = statistics.fmean(found)
    wide = stats.t.ppf(0.975, seeds - 1) * statistics.stdev(found) / seeds**0.5 if seeds > 1 else None
    low, high = (None, None) if wide is None else (round(mean - wide, 4), round(mean + wide, 4))
    return {"n": seeds, "top1": round(mean, 4), "low": low, "high": high}


if __name__ == "__main__":
    main()

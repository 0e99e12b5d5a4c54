"""What n calls can buy on CIFAR-100: methods that see the bought samples alone (few), the rest of the pool with estimates (pool) or with
labels (labelled), and the ceiling, for which the whole pool is bought.

`python -m benchmarks.calls cifar100.npz answers.npz features.npz`: images and labels as `npz:` sources have them; `train` (N, C)
of the teacher's logits and (N, d) of free features, rows in one order. A seed draws what is bought and how the student begins. 5,000
training images are validation, the others the pool. Cells are kept beside the result while it runs, and in it: a run that was stopped
goes on, and `--minutes` stops one between two cells.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.calls_rows import paired, rows_of, with_fewer_calls
from benchmarks.common import RESULTS, save, table

NAME = "calls_cifar100"
VALIDATION = 5000
METHODS: dict[str, dict[str, dict[str, Any]]] = {  # regime: name: section
    "few": {
        "ce": {},
        "kd": {},
        "ckd-mse": {"labels": "ce"},
        "ckd-mse-released": {"method": "ckd-mse", "labels": "difference"},
        "mse-centred": {"method": "mse", "centred": True},
        "mix-cached": {},
        "dkd": {},
        "pool-ckd": {},
    },
    "pool": {
        "kd": {"rest": "estimated"},
        "ckd-mse": {"labels": "ce", "rest": "estimated"},
        "pseudo-label": {"rest": "estimated"},
        "fixmatch": {"rest": "unlabelled"},
        "pool-ckd": {"rest": "estimated"},
    },
    "labelled": {"ce": {"rest": "labelled"}, "kd": {"rest": "both"}, "pool-ckd": {"rest": "both"}},
    "ceiling": {"ce": {}, "kd": {}, "pool-ckd": {}},
}
SHARE = 0.9  # of a batch that was not bought; where validation tells that 0.5 is better (resnet8, seed 0):
SHARES = {
    ("pool-ckd", 1600): 0.5
}  # 35.9 against 34.9; `kd` 33.0 against 33.4; at 400 calls `pool-ckd` 27.2 against 28.8
PUBLISHED = {"fixmatch": 0.875}  # seven a bought one
LR = 0.2  # of 0.1, 0.2 and 0.4 the best on validation for `pool-ckd` at 1,600 calls (resnet8, 3,000 steps, one seed); for `kd` it beat 0.1
PRECISION = "bf16-mixed"  # 1.7 times as fast as float32 on a CPU that has it; one cell at 32-true: 34.9 against 35.6 % (one seed)


class Cell(NamedTuple):
    regime: str
    budget: int
    method: str
    arch: str
    steps: int
    seed: int

    @property
    def key(self) -> str:
        return "/".join(map(str, self))


class Data(NamedTuple):
    """Images (N, 3, 32, 32) uint8 and labels (N,) of the pool, validation and test; the teacher's logits and features of the pool."""

    pool: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    answers: np.ndarray
    features: np.ndarray
    facts: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "answers", "features"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--regimes", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--methods", nargs="+", help="those of the regimes that have such names; default: all")
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 400, 1600, 4800])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many")
    parser.add_argument(
        "--rows", action="store_true", help="train nothing: write the result of the cells that are there"
    )
    args = parser.parse_args()
    cells_file, end = RESULTS / f"{NAME}.cells.json", time.monotonic() + 60 * args.minutes
    done = kept(cells_file)
    if not args.rows:
        data = read(args.data, args.answers, args.features)
        for cell in cells(args):
            if cell.key in (done := kept(cells_file)) or time.monotonic() > end:
                continue
            found = run(cell, data, args.lr)
            done = kept(cells_file) | {cell.key: found}  # another process may have kept some meanwhile
            cells_file.write_text(json.dumps(done, indent=0) + "\n")
            print(cell.key, found, flush=True)
    rows = rows_of(done)
    table([{key: row[key] for key in row if key != "values"} for row in rows])
    shares = {f"{method} at {budget}": share for (method, budget), share in SHARES.items()}
    parameters = {
        "lr": args.lr,
        "share": SHARE,
        "shares": shares,
        "validation": VALIDATION,
        "estimator": "ridge",
        "schedule": "cosine",
    }
    parameters |= {"precision": PRECISION}
    save(
        NAME,
        " ".join(__doc__.split("\n\n")[0].split()),
        parameters,
        {"rows": rows, "paired": paired(done), "with_fewer_calls": with_fewer_calls(done), "cells": done},
    )


def kept(file: Path) -> dict[str, Any]:
    """The cells that were run, by their keys: those beside the result, or else those that it holds."""
    if file.exists():
        return json.loads(file.read_text())
    result = RESULTS / f"{NAME}.json"
    return json.loads(result.read_text())["figures"]["cells"] if result.exists() else {}


def cells(args: argparse.Namespace) -> list[Cell]:
    """All of them, seed after seed, so that a run that is stopped has whole seeds."""
    found = []
    for seed in range(args.seeds):
        for budget in args.budgets:
            for regime in args.regimes:
                for method in METHODS[regime]:
                    if args.methods is None or method in args.methods:
                        if regime == "ceiling" and budget != args.budgets[0]:
                            continue
                        n = 0 if regime == "ceiling" else budget
                        found.append(Cell(regime, n, method, args.student, args.steps, seed))
    return found


def read(data: Path, answers: Path, features: Path) -> Data:
    """Without training images that are in the test split too, or twice in the training split."""
    given = np.load(data)
    images = {split: given[f"{split}_images"].transpose(0, 3, 1, 2) for split in ("train", "test")}
    tests = {one.tobytes() for one in images["test"]}
    seen: set[bytes] = set()
    kept = []
    for row, one in enumerate(images["train"]):
        if (content := one.tobytes()) not in tests and content not in seen:
            kept.append(row)
        seen.add(content)
    order = np.array(kept)[np.random.default_rng(0).permutation(len(kept))]
    held, pool = order[:VALIDATION], order[VALIDATION:]

    def part(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ascontiguousarray(images["train"][rows]), given["train_labels"][rows].astype(np.int64)

    pixels = images["train"][pool].astype(np.float32) / 255
    facts = {"mean": pixels.mean((0, 2, 3)).tolist(), "std": pixels.std((0, 2, 3)).tolist()}
    return Data(
        pool=part(pool),
        validation=part(held),
        test=(np.ascontiguousarray(images["test"]), given["test_labels"].astype(np.int64)),
        answers=np.load(answers)["train"][pool].astype(np.float32),
        features=np.load(features)["train"][pool],
        facts=facts | {"names": [str(one) for one in given["classes"]]},
    )


def run(cell: Cell, data: Data, lr: float) -> dict[str, float]:
    """Train and test one cell; `top1` and `val_top1` in 0…1, the share of the rest on which estimate and teacher agree, and the step."""
    import torch

    from tuition.methods import build
    from tuition.training import run as training

    torch.set_num_threads(1)
    section = METHODS[cell.regime][cell.method]
    objective, rest = build(cell.method, section), section.get("rest", "none")
    settings = settings_of(cell, lr, rest)
    learned, agreement = training_set(cell, data, rest)
    model = {
        "arch": cell.arch,
        "taps": [],
        "classes": data.answers.shape[1],
        "class_names": data.facts["names"],
        "inputs": "images",
        "channels": 3,
        "height": 32,
        "width": 32,
        "mean": data.facts["mean"],
        "std": data.facts["std"],
    }
    done, speed = training.train(
        cell.key.replace("/", "-"), model, objective, settings, cell.seed, learned, validation=data.validation
    )
    top1 = score(model, done.best, data.test)
    found = {"top1": top1, "val_top1": done.best_score[0], "step_ms": round(1000 / speed["steps_per_second"], 2)}
    return found | ({"agreement": agreement} if agreement is not None else {})


def settings_of(cell: Cell, lr: float, rest: str) -> Any:
    from tuition.params import StudentTraining

    return StudentTraining(
        steps=cell.steps,
        batch_size=64,
        lr=lr,
        nesterov=True,
        weight_decay=5e-4,
        schedule="cosine",
        warmup=100,
        crop=4,
        flip=True,
        precision=PRECISION,
        validate_every=cell.steps // 3,
        checkpoint_every=cell.steps // 3,
        rest=rest,
        rest_share=SHARES.get((cell.method, cell.budget), PUBLISHED.get(cell.method, SHARE)),
    )


def training_set(cell: Cell, data: Data, rest: str) -> tuple[Any, float | None]:
    """What the cell's student learns from, and how far the estimates agree with the teacher on the rest (None: there are none)."""
    from tuition.comparisons import group_weights
    from tuition.methods import card, resolve
    from tuition.training.data import TrainingSet

    images, labels = data.pool
    drawn = np.random.default_rng(cell.seed).permutation(len(labels))
    bought, others = np.sort(drawn[: cell.budget or len(drawn)]), np.sort(drawn[cell.budget or len(drawn) :])
    logits = data.answers[bought]
    about = card(resolve(cell.method, METHODS[cell.regime][cell.method]).method)
    kept, agreement = {}, None
    if rest != "none":
        known = rest in ("labelled", "both")
        kept = {
            "inputs": images[others],
            "weight": np.ones(len(others), np.float32),
            "labels": labels[others] if known else np.full(len(others), -1),
            "share": np.full(len(others), {"labelled": 1.0, "both": 0.5}.get(rest, 0.0), np.float32),
        }
    if rest in ("estimated", "both"):
        kept["estimated"], sure, agreement = estimates(data, bought, others)
        kept["weight"] = sure if rest == "estimated" else kept["weight"]
    return TrainingSet(
        images[bought],
        labels[bought],
        {"logits": logits, "label": logits.argmax(1)},
        weights=group_weights(2).astype("float32") if about.compares else None,
        rest=kept,
    ), agreement


def estimates(data: Data, bought: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Of the rest: probabilities (M, C) float16, confidence (M,), and the share of agreement with the teacher."""
    from tuition.estimators import Bought, fit
    from tuition.estimators.confidence import calibrate
    from tuition.estimators.protocol import softmax

    answers = data.answers[bought]
    fitted = fit("ridge", Bought(data.features, bought, answers))
    logits = fitted.estimate(others)
    sure = calibrate(fitted.held_out, answers).of(logits).astype(np.float32)
    agreement = float((logits.argmax(1) == data.answers[others].argmax(1)).mean())
    return softmax(logits).astype(np.float16), sure, agreement


def score(model: Any, weights: dict[str, Any], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Top-1 on the test split of the student with these weights."""
    import torch

    from stages.evaluate.__main__ import predict
    from tuition.models import make

    student = make(model)
    student.load_state_dict(weights)
    student.eval()
    logits, _ = predict(student, test[0], model, 500, torch.device("cpu"))
    return float((logits.argmax(1) == test[1]).mean())


if __name__ == "__main__":
    main()

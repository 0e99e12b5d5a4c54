"""What n answers say of the rest of a pool: each estimator's agreement with the teacher on samples that were not bought, and what it
expected of itself.

`python -m benchmarks.estimates features.npz answers.npz`: `train` (N, d) and (N, C), rows in one order; nothing is trained.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.common import save, table
from tuition.estimators import ESTIMATORS, Bought, fit
from tuition.estimators.confidence import calibrate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 400, 1600, 4800])
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, help="so many samples, drawn once; all by default")
    args = parser.parse_args()
    features, answers = (np.load(path)["train"].astype(np.float32) for path in (args.features, args.answers))
    if args.pool:
        kept = np.random.default_rng(99).permutation(len(features))[: args.pool]
        features, answers = features[kept], answers[kept]
    rows = []
    for budget in args.budgets:
        drawn = [np.sort(np.random.default_rng(seed).permutation(len(features))[:budget]) for seed in range(args.seeds)]
        for name in args.estimators:
            rows.append({"budget": budget, "estimator": name, **measure(name, features, answers, drawn)})
            print(rows[-1], flush=True)
    table(rows)
    parameters = {
        "budgets": args.budgets,
        "seeds": args.seeds,
        "pool": len(features),
        "product_seconds": round(product_seconds(features, answers), 3),
    }
    save(f"estimates_{len(features)}", " ".join(__doc__.split("\n\n")[0].split()), parameters, {"rows": rows})


def measure(name: str, features: np.ndarray, answers: np.ndarray, drawn: list[np.ndarray]) -> dict[str, float]:
    """Of all draws of what is bought: means of the agreement on the rest, of what was expected and of the seconds; the largest miss."""
    found = []
    for bought in drawn:
        rest = np.setdiff1d(np.arange(len(features)), bought)
        begin = time.perf_counter()
        fitted = fit(name, Bought(features, bought, answers[bought]))
        logits = fitted.estimate(rest)
        expected = calibrate(fitted.held_out, answers[bought]).of(logits).mean()
        seconds = time.perf_counter() - begin
        found.append(((logits.argmax(1) == answers[rest].argmax(1)).mean(), expected, seconds))
    agreement, expected, seconds = np.array(found).T
    return {
        "agreement": round(float(agreement.mean()), 4),
        "sd": round(float(agreement.std(ddof=1)), 4) if len(found) > 1 else 0.0,
        "expected": round(float(expected.mean()), 4),
        "largest_miss": round(float(np.abs(expected - agreement).max()), 4),
        "seconds": round(float(np.median(seconds)), 2),
    }


def product_seconds(features: np.ndarray, answers: np.ndarray) -> float:
    """What one product (N, d) × (d, C) takes, to hold an estimator's time against; the median of 5."""
    weights, taken = np.ones((features.shape[1], answers.shape[1]), np.float32), []
    for _ in range(5):
        begin = time.perf_counter()
        features @ weights
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


if __name__ == "__main__":
    main()

"""What each order of purchase buys, by what the bought answers say of the rest: agreement of `ridge`'s estimate with the teacher.

`python -m benchmarks.orders features.npz answers.npz`: `train` (N, d) and (N, C), rows in one order; nothing is trained. A seed draws
the pool and shuffles it, so that each order is another at each seed.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import save, table

ORDERS = ("random", "kcenter", "kmeans", "probcover", "typiclust")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=10_000, help="samples of it")
    args = parser.parse_args()
    features, answers = (np.load(path)["train"].astype(np.float32) for path in (args.features, args.answers))
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        kept = np.random.default_rng(seed).permutation(len(features))[: args.pool]
        for name in args.orders:
            order = ordered(name, features[kept], max(args.budgets), seed, answers.shape[1])
            for budget in args.budgets:
                one = measure(features[kept], answers[kept], order[:budget])
                found.setdefault((budget, name), []).append(one)
                print(seed, budget, name, one, flush=True)
    rows = [row(budget, name, ones, found[budget, "random"]) for (budget, name), ones in sorted(found.items())]
    table(rows)
    parameters = {"seeds": args.seeds, "pool": args.pool, "estimator": "ridge"}
    save("orders", " ".join(__doc__.split("\n\n")[0].split()), parameters, {"rows": rows})


def ordered(name: str, features: np.ndarray, limit: int, seed: int, classes: int) -> np.ndarray:
    """Places in the order of purchase, as the stage `teach` has it."""
    from tuition.selection.order import purchase_order

    ids = np.array([f"{place:064d}" for place in range(len(features))], dtype="S64")
    labels, names = np.full(len(features), -1), [str(one) for one in range(classes)]
    return purchase_order(
        name, ids, labels, seed, samples=features, classes=names, limit=limit, encoded=features.astype(np.float64)
    )[:limit]


def measure(features: np.ndarray, answers: np.ndarray, bought: np.ndarray) -> dict[str, float]:
    """In %: the agreement on the rest, and the classes that some bought answer names."""
    from tuition.estimators import Bought, fit

    bought = np.sort(bought)
    rest = np.setdiff1d(np.arange(len(features)), bought)
    named = fit("ridge", Bought(features, bought, answers[bought])).estimate(rest).argmax(1)
    seen = len(set(answers[bought].argmax(1).tolist()))
    return {
        "agreement": 100 * float((named == answers[rest].argmax(1)).mean()),
        "classes": 100 * seen / answers.shape[1],
    }


def row(budget: int, name: str, ones: list[dict[str, float]], random: list[dict[str, float]]) -> dict[str, Any]:
    """Means, and the difference to `random`, seed by seed, with its 95 % interval and p."""
    from stages.report import study

    apart = [one["agreement"] - other["agreement"] for one, other in zip(ones, random, strict=True)]
    mean, low, high, _ = study.interval(apart)
    found: dict[str, Any] = {"budget": budget, "order": name, "n": len(ones)}
    found |= {key: round(float(np.mean([one[key] for one in ones])), 2) for key in ("agreement", "classes")}
    if name == "random" or len(ones) < 2:
        return found | {"difference": 0.0, "low": 0.0, "high": 0.0, "p": None}
    return found | {
        "difference": round(mean, 2),
        "low": round(low, 2),
        "high": round(high, 2),
        "p": study.p_value(apart),
    }


if __name__ == "__main__":
    main()

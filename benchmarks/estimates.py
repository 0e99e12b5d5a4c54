"""What n answers say of the rest of a pool: each estimator's agreement with the teacher on samples that were not bought, and what it
expected of itself.

`python -m benchmarks.estimates features.npz answers.npz [labels.npz]`: `train` (N, d) and (N, C), rows in one order; nothing is trained.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.common import save, table
from tuition.estimators import ESTIMATORS, Bought, fit
from tuition.estimators.blend import blend
from tuition.estimators.confidence import calibrate
from tuition.estimators.propagation import graph, propagate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 400, 1600, 4800])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--propagate", action="store_true", help="over the graph of the whole pool, too")
    args = parser.parse_args()
    features, answers = (np.load(path)["train"].astype(np.float32) for path in (args.features, args.answers))
    begin = time.perf_counter()
    s = graph(features) if args.propagate else None
    print(f"graph: {time.perf_counter() - begin:.0f} s")
    found: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for budget in args.budgets:
        for seed in range(args.seeds):
            bought = np.random.default_rng(seed).permutation(len(features))[:budget]
            for name, row in one(features, answers, bought, s).items():
                found.setdefault((budget, name), []).append(row)
            print(budget, seed, {name: rows[-1] for (b, name), rows in found.items() if b == budget}, flush=True)
    rows = [
        {"budget": budget, "estimator": name, "n": len(values)}
        | {key: round(float(np.mean(column)), 4) for key, column in zip(("agreement", "expected", "seconds"), zip(*values, strict=True), strict=True)}
        | {"sd": round(float(np.std([v[0] for v in values], ddof=1)), 4) if len(values) > 1 else None}
        for (budget, name), values in found.items()
    ]
    table(rows)
    save("estimates", __doc__.strip().splitlines()[0], {"budgets": args.budgets, "seeds": args.seeds}, {"rows": rows})


def one(features, answers, bought, s) -> dict[str, tuple[float, float, float]]:
    """By estimator: (agreement on the rest, expected agreement, seconds)."""
    rest = np.setdiff1d(np.arange(len(features)), bought)
    teacher, known, done, out = answers[rest].argmax(1), Bought(features[bought], answers[bought]), {}, {}
    for name in (*ESTIMATORS, "blend", *(("propagation",) if s is not None else ())):
        begin = time.perf_counter()
        if name == "propagation":
            base = done["blend"]
            smoothed = propagate(s, base.estimate(features), bought, known.centred.astype(np.float32), base.held_out)
            logits, held = smoothed.logits[rest], smoothed.held_out
        else:
            done[name] = blend([done[other] for other in ESTIMATORS], known.logits) if name == "blend" else fit(name, known)
            logits, held = done[name].estimate(features[rest]), done[name].held_out
        sure = calibrate(held, known.logits)
        agreement = float((logits.argmax(1) == teacher).mean())
        out[name] = (round(agreement, 4), round(float(sure.of(logits).mean()), 4), round(time.perf_counter() - begin, 2))
    return out


if __name__ == "__main__":
    main()

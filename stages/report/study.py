"""A whole study as rows: what its cells came to, with intervals over seeds and paired differences.

Reads the files of the cells that `params.yaml` names; folders of cells that were taken out of the study are ignored.
Intervals are at 95 %. Those of accuracies share one spread between seeds (`intervals`); those of paired differences are Student's t over
seeds. They are nan where there is one seed, or where all seeds came to exactly the same (accuracies are counts: two equal ones do not
show that there is no spread).
"""

from itertools import pairwise
from math import log2, nan, sqrt
from typing import Any

import numpy as np

from stages.report import intervals
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.params import REGIMES, Params
from tuition.targets.truth import read_truth
from tuition.workspace import Workspace, cell_name

BASELINES = ("ce", "kd")
LEVEL = 0.95
Key = tuple[int, str, int]
Row = dict[str, Any]

CELL_COLUMNS = [
    "budget",
    "method",
    "seed",
    "top1",
    "top5",
    "nll",
    "ece",
    "brier",
    "agreement_with_teacher",
    "top1_recentred",
    "macro_f1",
    "macro_recall",
    "worst_class_recall",
    "map_euclidean",
    "map_cosine",
    "val_top1",
    "val_nll",
    "parameters",
    "size_bytes",
    "n_test",
]
TRANSFER_COLUMNS = ["transfer_top1", "transfer_l2"]  # of cells.csv where there is a transfer.source
SUMMARY_COLUMNS = [
    "budget",
    "method",
    "regime",
    "n",
    "calls",
    "top1",
    "sd",
    "low",
    "high",
    "macro_f1",
    "nll",
    "ece",
    "agreement",
    "cost",
]
PAIRED_COLUMNS = ["budget", "method", "baseline", "n", "difference", "low", "high", "p", "wins", "losses"]
CURVE_COLUMNS = ["calls", "method", "top1", "low", "high"]


def check_results(params: Params) -> None:
    """Raises UserError naming the cells of the study that have no results yet."""
    here, cells = Workspace(), params.study.cells()
    missing = [cell_name(*c) for c in cells if not here.results(cell_name(*c)).metrics.is_file()]
    if missing:
        raise UserError(
            f"results/: nothing for {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''} "
            f"({len(missing)} of the study's {len(cells)} cells); `dvc repro` makes them"
        )


def collect_study(params: Params) -> dict[str, Any]:
    """Everything the report is made of, read from the current directory.

    Returns budgets (ascending), methods, seeds, and whether there is `transfer`; per cell its `metrics`, `students` meta
    and `right` (N_test,) bool; per budget `spend` and `outputs` meta; `data` and `teacher` meta.
    Raises UserError naming the cells that have no results yet, or whose files are of different runs.
    """
    here, cells = Workspace(), params.study.cells()
    check_results(params)
    pretrained = here.teacher.meta
    labels = {b: read_truth(here, "test", b) for b in params.study.budgets}
    figures = {c: read_json(here.results(cell_name(*c)).metrics) for c in cells}
    students = {c: read_json(here.student(cell_name(*c)).meta) for c in cells}
    return {
        "budgets": sorted(params.study.budgets),
        "methods": list(params.study.methods),
        "seeds": list(params.study.seeds),
        "transfer": any("transfer_top1" in one for one in figures.values()),
        "against": next(iter(figures.values())).get("against", "labels"),
        "metrics": figures,
        "right": {c: _right(c, labels[c[0]]) for c in cells},
        "students": students,
        "regimes": {method: _regime(students[cell]) for cell in cells for method in (cell[1],)},
        "spend": {b: read_json(here.outputs(b).spend) for b in params.study.budgets},
        "outputs": {b: read_json(here.outputs(b).meta) for b in params.study.budgets},
        "data": read_json(here.data.meta),
        "teacher": read_json(pretrained) if pretrained.is_file() else {},
    }


def _regime(meta: dict[str, Any]) -> str:
    """What a student saw, by its meta.json: few (bought samples alone), pool or labelled (the rest too)."""
    settings = (meta.get("settings") or {}).get("train") or {}
    return REGIMES[settings.get("rest", "none")]


def cell_rows(study: dict[str, Any]) -> list[Row]:
    """One row a cell: its name and its figures."""
    keys = [(b, m, s) for b in study["budgets"] for m in study["methods"] for s in study["seeds"]]
    return [{"budget": b, "method": m, "seed": s, **study["metrics"][b, m, s]} for b, m, s in keys]


def summary_rows(study: dict[str, Any]) -> list[Row]:
    """One row a budget and method: means over seeds, the interval of top-1, the calls and money its outputs took."""
    samples = len(next(iter(study["right"].values())))
    groups = [_over_seeds(study, b, m, "top1") for b in study["budgets"] for m in study["methods"]]
    spread = intervals.pooled_spread(groups, samples)
    rows = []
    for budget in study["budgets"]:
        for method in study["methods"]:
            values = _over_seeds(study, budget, method, "top1")
            top1, low, high = intervals.interval(values, spread, samples)
            rows.append(
                {
                    "budget": budget,
                    "method": method,
                    "regime": study["regimes"][method],
                    "n": len(study["seeds"]),
                    "calls": study["spend"][budget]["calls"],
                    "top1": top1,
                    "sd": float(np.std(values, ddof=1)) if len(values) > 1 else nan,
                    "low": low,
                    "high": high,
                    "macro_f1": _mean(_over_seeds(study, budget, method, "macro_f1")),
                    "nll": _mean(_over_seeds(study, budget, method, "nll")),
                    "ece": _mean(_over_seeds(study, budget, method, "ece")),
                    "agreement": _mean(_over_seeds(study, budget, method, "agreement_with_teacher")),
                    "cost": study["spend"][budget]["cost"],
                    "transfer_top1": _mean(_over_seeds(study, budget, method, "transfer_top1")),
                }
            )
    return rows


def paired_rows(study: dict[str, Any]) -> list[Row]:
    """One row a budget, method and baseline: the difference of top-1 (method − baseline) in points, paired by seed.

    `singles` holds the difference of each seed. `wins` counts test answers, over all seeds, that the method alone has
    right, `losses` those that the baseline alone has.
    """
    rows = []
    for budget in study["budgets"]:
        for baseline in (b for b in BASELINES if b in study["methods"]):
            for method in (m for m in study["methods"] if m != baseline):
                a, b = (_over_seeds(study, budget, m, "top1") for m in (method, baseline))
                singles = [100 * (x - y) for x, y in zip(a, b, strict=True)]
                mean, low, high, _ = interval(singles)
                wins, losses = discordant(study, budget, method, baseline)
                rows.append(
                    {
                        "budget": budget,
                        "method": method,
                        "baseline": baseline,
                        "n": len(singles),
                        "difference": mean,
                        "low": low,
                        "high": high,
                        "p": p_value(singles),
                        "wins": wins,
                        "losses": losses,
                        "singles": singles,
                    }
                )
    return rows


def needed_rows(study: dict[str, Any], summary: list[Row]) -> list[Row]:
    """One row a baseline and method: the calls that reach the baseline's accuracy at its biggest budget."""
    curve = {m: [(r["calls"], r["top1"]) for r in summary if r["method"] == m] for m in study["methods"]}
    rows = []
    for baseline in (b for b in BASELINES if b in study["methods"]):
        calls, target = curve[baseline][-1]
        for method in study["methods"]:
            relation, needed = calls_needed(curve[method], target)
            rows.append(
                {
                    "baseline": baseline,
                    "baseline_calls": calls,
                    "target": target,
                    "method": method,
                    "relation": relation,
                    "calls": needed,
                }
            )
    return rows


def interval(values: list[float]) -> tuple[float, float, float, float]:
    """Mean, lower and upper end of its 95 % t-interval, and standard deviation (n − 1); nan where there is none."""
    from scipy.special import stdtrit  # the quantile that scipy.stats.t uses, without that module's long import

    mean, n = _mean(values), len(values)
    if n < 2:
        return mean, nan, nan, nan
    sd = float(np.std(values, ddof=1))
    if _no_spread(sd, values):
        return mean, nan, nan, 0.0
    half = float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * sd / sqrt(n)
    return mean, mean - half, mean + half, sd


def p_value(differences: list[float]) -> float:
    """Two-sided p of the paired t-test; nan with one seed or with equal differences, 1 where all are zero."""
    from scipy.special import stdtr

    n = len(differences)
    if n < 2:
        return nan
    mean, sd = _mean(differences), float(np.std(differences, ddof=1))
    if _no_spread(sd, differences):
        return 1.0 if abs(mean) < 1e-9 else nan
    return float(2 * stdtr(n - 1, -abs(mean) / (sd / sqrt(n))))


def discordant(study: dict[str, Any], budget: int, method: str, baseline: str) -> tuple[int, int]:
    """Over all seeds: test answers that only `method` has right, and those that only `baseline` has right (McNemar)."""
    pairs = [(study["right"][budget, method, s], study["right"][budget, baseline, s]) for s in study["seeds"]]
    return sum(int((a & ~b).sum()) for a, b in pairs), sum(int((b & ~a).sum()) for a, b in pairs)


def calls_needed(curve: list[tuple[int, float]], target: float) -> tuple[str, float]:
    """Where a curve of (calls, accuracy) first reaches `target`, linear in log2 of the calls between two budgets.

    Returns ("at most" | "about" | "more than", calls): below the smallest budget and above the biggest is nothing.
    """
    curve = sorted(curve)
    reached = target - 1e-12  # means of the same counts may differ in the last bit
    if curve[0][1] >= reached:
        return "at most", float(curve[0][0])
    for (x0, y0), (x1, y1) in pairwise(curve):
        if y1 >= reached:
            share = min((target - y0) / (y1 - y0), 1.0)
            return "about", float(x0 * 2 ** (share * log2(x1 / x0)))
    return "more than", float(curve[-1][0])


def _right(cell: Key, labels: np.ndarray) -> np.ndarray:
    """Which test answers of a cell are right, of samples whose label is known (N_known,).

    Raises UserError where its files do not belong together.
    """
    results = Workspace().results(cell_name(*cell))
    logits, figures = read_array(results.logits), read_json(results.metrics)
    if len(logits) != len(labels):
        raise UserError(f"{results.logits}: {len(logits)} rows for {len(labels)} test labels; run `dvc repro`")
    right = (logits.argmax(axis=1) == labels)[labels >= 0]
    if abs(right.mean() - figures["top1"]) > 1e-9:
        raise UserError(
            f"{results}: logits.npy gives top1 {right.mean():.6f}, metrics.json says {figures['top1']:.6f}; "
            f"they are of different runs; run `dvc repro`"
        )
    return right


def _over_seeds(study: dict[str, Any], budget: int, method: str, figure: str) -> list[float]:
    return [float(study["metrics"][budget, method, s].get(figure, nan)) for s in study["seeds"]]


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _no_spread(sd: float, values: list[float]) -> bool:
    return sd <= 1e-12 * max(1.0, max(abs(v) for v in values))

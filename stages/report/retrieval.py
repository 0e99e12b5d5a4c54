"""A study of retrieval as rows: nDCG@10 of its cells, with intervals over seeds, and differences paired by query.

Intervals are at 95 %, Student's t: over seeds, or of a difference over queries, whose figure is the mean over seeds.
"""

from math import nan
from typing import Any

import numpy as np

from stages.report.study import interval, p_value
from tuition.errors import UserError
from tuition.files import read_json
from tuition.params import Params
from tuition.tables import read_rows
from tuition.workspace import Workspace, cell_name

Row = dict[str, Any]
CELL_COLUMNS = [
    *(
        "budget",
        "method",
        "seed",
        "ndcg10",
        "mrr10",
        "recall100",
        "val_ndcg10",
        "val_mrr10",
        "val_recall100",
        "val_loss",
    ),
    *("teacher_ndcg10", "beside_teacher_ndcg10", "parameters", "size_bytes", "index_bytes", "documents", "n_test"),
]
SUMMARY_COLUMNS = [
    "budget",
    "method",
    "regime",
    "n",
    "calls",
    "ndcg10",
    "sd",
    "low",
    "high",
    "mrr10",
    "recall100",
    "cost",
]
PAIRED_COLUMNS = ["budget", "method", "baseline", "n", "queries", "difference", "low", "high", "p", "wins", "losses"]
CURVE_COLUMNS = ["calls", "method", "ndcg10", "low", "high"]


def collect_retrieval(params: Params) -> dict[str, Any]:
    """Everything the report is made of; per cell its `metrics` and `queries` (Q,): nDCG@10 by test query.

    Raises UserError naming the cells that have no results yet.
    """
    here, cells = Workspace(), params.study.cells()
    missing = [cell_name(*c) for c in cells if not here.results(cell_name(*c)).metrics.is_file()]
    if missing:
        raise UserError(
            f"results/: nothing for {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''} "
            f"({len(missing)} of the study's {len(cells)} cells); `dvc repro` makes them"
        )
    return {
        "budgets": sorted(params.study.budgets),
        "methods": list(params.study.methods),
        "seeds": list(params.study.seeds),
        "against": "relevance",
        "metrics": {c: read_json(here.results(cell_name(*c)).metrics) for c in cells},
        "queries": {
            c: np.array([float(row["ndcg10"]) for row in read_rows(here.results(cell_name(*c)).per_class)])
            for c in cells
        },
        "spend": {b: read_json(here.outputs(b).spend) for b in params.study.budgets},
        "outputs": {b: read_json(here.outputs(b).meta) for b in params.study.budgets},
        "data": read_json(here.data.meta),
        "teacher": {},
    }


def cell_rows(study: Row) -> list[Row]:
    """One row a cell: its name and its figures."""
    keys = [(b, m, s) for b in study["budgets"] for m in study["methods"] for s in study["seeds"]]
    return [
        {**dict.fromkeys(CELL_COLUMNS, ""), "budget": b, "method": m, "seed": s, **study["metrics"][b, m, s]}
        for b, m, s in keys
    ]


def summary_rows(study: Row) -> list[Row]:
    """One row a budget and method: means over seeds, the interval of nDCG@10, the calls and money its outputs took."""
    rows = []
    for budget in study["budgets"]:
        for method in study["methods"]:
            values = {key: _over_seeds(study, budget, method, key) for key in ("ndcg10", "mrr10", "recall100")}
            mean, low, high, sd = interval(values["ndcg10"])
            rows.append(
                {
                    "budget": budget,
                    "method": method,
                    "regime": "few",
                    "n": len(study["seeds"]),
                    "calls": study["spend"][budget]["calls"],
                    "ndcg10": mean,
                    "sd": sd,
                    "low": low,
                    "high": high,
                    "mrr10": float(np.mean(values["mrr10"])),
                    "recall100": float(np.mean(values["recall100"])),
                    "cost": study["spend"][budget]["cost"],
                }
            )
    return rows


def paired_rows(study: Row) -> list[Row]:
    """One row a budget and method: its difference of nDCG@10 to the study's first method in points, paired by query.

    `wins` counts queries on which it is better in the mean over seeds, `losses` those on which it is worse; `singles` holds each seed's
    difference.
    """
    baseline, rows = study["methods"][0], []
    for budget in study["budgets"]:
        for method in study["methods"][1:]:
            apart = np.stack(
                [study["queries"][budget, method, s] - study["queries"][budget, baseline, s] for s in study["seeds"]]
            )
            each = (100 * apart.mean(axis=0)).tolist()
            mean, low, high, _ = interval(each)
            rows.append(
                {
                    "budget": budget,
                    "method": method,
                    "baseline": baseline,
                    "n": len(study["seeds"]),
                    "queries": len(each),
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "p": p_value(each),
                    "wins": sum(one > 0 for one in each),
                    "losses": sum(one < 0 for one in each),
                    "singles": (100 * apart.mean(axis=1)).tolist(),
                }
            )
    return rows


def best_cell(study: Row) -> tuple[int, str, int]:
    """By validation alone, as `register` chooses."""

    def rank(cell: tuple[int, str, int]) -> tuple[float, float, int, str]:
        found = study["metrics"][cell]
        return -found["val_ndcg10"], found["val_loss"], study["spend"][cell[0]]["calls"], cell_name(*cell)

    return min(study["metrics"], key=rank)


def as_shares(study: Row, summary: list[Row]) -> tuple[Row, list[Row]]:
    """The same for the pictures, in which the figure that counts is called `top1`."""
    cells = {cell: {"top1": found["ndcg10"]} for cell, found in study["metrics"].items()}
    return study | {"metrics": cells}, [row | {"top1": row["ndcg10"]} for row in summary]


def _over_seeds(study: Row, budget: int, method: str, figure: str) -> list[float]:
    return [float(study["metrics"][budget, method, s].get(figure, nan)) for s in study["seeds"]]

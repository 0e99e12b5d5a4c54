"""A study of retrieval as rows: nDCG@10 of its cells, with intervals over seeds: at 95 %, Student's t."""

from math import nan

import numpy as np

from stages.report import by_text
from stages.report.study import Row, interval
from tuition.params import Params

FIGURE, LOSS = "ndcg10", "loss"
FIGURES = ("ndcg10", "low", "high", "mrr10", "recall100")  # of metrics.json
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
CURVE_COLUMNS = ["calls", "method", "ndcg10", "low", "high"]


def collect(params: Params) -> Row:
    """Everything the report is made of, as `by_text.collect`."""
    return by_text.collect(params, FIGURE) | {"against": "relevance", "teacher": {}}


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


def _over_seeds(study: Row, budget: int, method: str, figure: str) -> list[float]:
    return [float(study["metrics"][budget, method, s].get(figure, nan)) for s in study["seeds"]]

"""A study of language models as rows: token accuracy and NLL of its cells, with intervals over seeds.

Token accuracy, higher is better, is what students are told apart by: the mean over test texts of the share of a reference's tokens that
the student, shown those before, has as the likeliest. NLL, lower is better, is in nats a token of all references. Differences are paired
by text.
"""

from math import exp
from typing import Any

import numpy as np

from stages.report.study import interval
from tuition.errors import UserError
from tuition.files import read_json
from tuition.params import Params
from tuition.tables import read_rows
from tuition.workspace import Workspace, cell_name

Row = dict[str, Any]
FIGURES = ("token_accuracy", "nll", "exact_match")
CELL_COLUMNS = [
    *("budget", "method", "seed", *FIGURES, "val_token_accuracy", "val_nll", "tokens_bought", "parameters"),
    *("size_bytes", "n_test", "n_tokens", "n_written"),
]
SUMMARY_COLUMNS = [
    *("budget", "method", "regime", "n", "calls", "tokens", "token_accuracy", "sd", "low", "high"),
    *("nll", "nll_low", "nll_high", "perplexity", "exact_match", "cost"),
]
CURVE_COLUMNS = ["calls", "method", "token_accuracy", "low", "high", "nll"]


def collect_language(params: Params) -> dict[str, Any]:
    """Everything the report is made of; per cell its `metrics` and `queries` (n,): token accuracy by test text.

    Raises UserError naming the cells that have no results yet.
    """
    here, cells = Workspace(), params.study.cells()
    missing = [cell_name(*c) for c in cells if not here.results(cell_name(*c)).metrics.is_file()]
    if missing:
        raise UserError(
            f"results/: nothing for {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''} "
            f"({len(missing)} of the study's {len(cells)} cells); `dvc repro` makes them"
        )
    made = read_json(here.teacher.meta) if here.teacher.meta.is_file() else {}
    return {
        "budgets": sorted(params.study.budgets),
        "methods": list(params.study.methods),
        "seeds": list(params.study.seeds),
        "against": "references",
        "metrics": {c: read_json(here.results(cell_name(*c)).metrics) for c in cells},
        "queries": {
            c: np.array([float(row["recall"]) for row in read_rows(here.results(cell_name(*c)).per_class)])
            for c in cells
        },
        "spend": {b: read_json(here.outputs(b).spend) for b in params.study.budgets},
        "outputs": {b: read_json(here.outputs(b).meta) for b in params.study.budgets},
        "data": read_json(here.data.meta),
        "teacher": {key: made[key] for key in ("val_token_accuracy", "val_nll") if key in made},
    }


def cell_rows(study: Row) -> list[Row]:
    """One row a cell: its name and its figures."""
    keys = [(b, m, s) for b in study["budgets"] for m in study["methods"] for s in study["seeds"]]
    return [
        {**dict.fromkeys(CELL_COLUMNS, ""), "budget": b, "method": m, "seed": s, **study["metrics"][b, m, s]}
        for b, m, s in keys
    ]


def summary_rows(study: Row) -> list[Row]:
    """One row a budget and method: means over seeds, intervals of token accuracy and NLL, the calls, tokens and money its answers took."""
    rows = []
    for budget in study["budgets"]:
        for method in study["methods"]:
            of = [study["metrics"][budget, method, s] for s in study["seeds"]]
            mean, low, high, sd = interval([one["token_accuracy"] for one in of])
            nll, nll_low, nll_high, _ = interval([one["nll"] for one in of])
            rows.append(
                {
                    "budget": budget,
                    "method": method,
                    "regime": "few",
                    "n": len(study["seeds"]),
                    "calls": study["spend"][budget]["calls"],
                    "tokens": of[0]["tokens_bought"],
                    "token_accuracy": mean,
                    "sd": sd,
                    "low": low,
                    "high": high,
                    "nll": nll,
                    "nll_low": nll_low,
                    "nll_high": nll_high,
                    "perplexity": exp(nll),
                    "exact_match": float(np.mean([one["exact_match"] for one in of])),
                    "cost": study["spend"][budget]["cost"],
                }
            )
    return rows


def best_cell(study: Row) -> tuple[int, str, int]:
    """By validation alone, as `register` chooses."""

    def rank(cell: tuple[int, str, int]) -> tuple[float, float, int, str]:
        found = study["metrics"][cell]
        return -found["val_token_accuracy"], found["val_nll"], study["spend"][cell[0]]["calls"], cell_name(*cell)

    return min(study["metrics"], key=rank)


def as_shares(study: Row, summary: list[Row]) -> tuple[Row, list[Row]]:
    """The same for the pictures, in which the figure that counts is called `top1`."""
    cells = {cell: {"top1": found["token_accuracy"]} for cell, found in study["metrics"].items()}
    return study | {"metrics": cells, "teacher": {}}, [row | {"top1": row["token_accuracy"]} for row in summary]

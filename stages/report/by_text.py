"""What studies have in common whose figure is a share of each test text, such as nDCG@10 of a query: rows that do not ask which one it is.

A task's module (`retrieval`, `language`) names the figure, FIGURE, and what it decides between equal ones by, LOSS: lower is better.
Differences are paired by text: each text's mean over seeds.
"""

import numpy as np

from stages.report.study import Row, check_results, interval, p_value
from tuition.files import read_json
from tuition.params import Params
from tuition.tables import read_rows
from tuition.workspace import Workspace, cell_name

PAIRED_COLUMNS = ["budget", "method", "baseline", "n", "queries", "difference", "low", "high", "p", "wins", "losses"]


def collect(params: Params, column: str) -> Row:
    """Everything the report is made of; per cell its `metrics` and `queries` (Q,): the figure by test text, `column` of per_class.csv.

    Raises UserError naming the cells that have no results yet.
    """
    here, cells = Workspace(), params.study.cells()
    check_results(params)
    results = {c: here.results(cell_name(*c)) for c in cells}
    return {
        "budgets": sorted(params.study.budgets),
        "methods": list(params.study.methods),
        "seeds": list(params.study.seeds),
        "metrics": {c: read_json(one.metrics) for c, one in results.items()},
        "queries": {
            c: np.array([float(row[column]) for row in read_rows(one.per_class)]) for c, one in results.items()
        },
        "spend": {b: read_json(here.outputs(b).spend) for b in params.study.budgets},
        "outputs": {b: read_json(here.outputs(b).meta) for b in params.study.budgets},
        "data": read_json(here.data.meta),
    }


def cell_rows(study: Row, columns: list[str]) -> list[Row]:
    """One row a cell: its name and its figures."""
    keys = [(b, m, s) for b in study["budgets"] for m in study["methods"] for s in study["seeds"]]
    return [
        {**dict.fromkeys(columns, ""), "budget": b, "method": m, "seed": s, **study["metrics"][b, m, s]}
        for b, m, s in keys
    ]


def paired_rows(study: Row) -> list[Row]:
    """One row a budget and method: its difference to the study's first method in points, paired by text.

    `wins` counts texts on which it is better in the mean over seeds, `losses` those on which it is worse; `singles` holds each seed's
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


def best_cell(study: Row, figure: str, loss: str) -> tuple[int, str, int]:
    """By validation alone, as `register` chooses."""

    def rank(cell: tuple[int, str, int]) -> tuple[float, float, int, str]:
        found = study["metrics"][cell]
        return -found[f"val_{figure}"], found[f"val_{loss}"], study["spend"][cell[0]]["calls"], cell_name(*cell)

    return min(study["metrics"], key=rank)


def as_shares(study: Row, summary: list[Row], figure: str) -> tuple[Row, list[Row]]:
    """The same for the pictures, in which the figure that counts is called `top1`, and the teacher has none on all of the data."""
    cells = {cell: {"top1": found[figure]} for cell, found in study["metrics"].items()}
    return study | {"metrics": cells, "teacher": {}}, [row | {"top1": row[figure]} for row in summary]

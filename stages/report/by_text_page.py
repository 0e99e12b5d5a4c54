"""What the pages of studies have in common whose figure is a share of each test text (`by_text`)."""

from math import isnan
from typing import Any

from stages.report import by_text
from stages.report.charts import chart
from stages.report.page import plausibility, spend_rows
from stages.report.study import Row
from tuition.params import Params
from tuition.workspace import cell_name


def best_and_rest(params: Params, study: Row, summary: list[Row], figure: str, loss: str, axis: str) -> dict[str, Any]:
    """What such a page shows whatever its task: the best cell by `figure` and `loss`, the curve of `figure`, named `axis`, the spend."""
    cell = by_text.best_cell(study, figure, loss)
    lines = [
        (m, [(r["calls"], 100 * r[figure], 100 * r["low"], 100 * r["high"]) for r in summary if r["method"] == m])
        for m in study["methods"]
    ]
    return {
        "name": params.registry.name,
        "best": {"cell": cell_name(*cell), "calls": study["spend"][cell[0]]["calls"]},
        "metrics": study["metrics"][cell],
        "curve": chart(lines, "teacher calls", f"{axis}, %"),
        "summary": summary,
        "spend": spend_rows(study),
        "checks": plausibility(max(study["budgets"])),
    }


def difference(row: Row, things: str) -> str:
    """One paired difference in a sentence that claims no more than its interval; `things` are what it is paired by."""
    subject = f"{row['budget']} calls: {row['method']}"
    points = f"{row['difference']:+.2f} points".replace("-", "−")
    counts = f"Better on {row['wins']} {things}, worse on {row['losses']} of {row['queries']}."
    if isnan(row["low"]):
        return f"{subject} against {row['baseline']}: {points}, the same on all {things}. {counts}"
    span = f"95 % interval {row['low']:+.2f} to {row['high']:+.2f}; p = {row['p']:.2g}".replace("-", "−")
    if row["low"] > 0 or row["high"] < 0:
        word = "better" if row["low"] > 0 else "worse"
        return f"{subject} is {word} than {row['baseline']}: {points} ({span}). {counts}"
    return f"{subject} against {row['baseline']}: no difference is shown ({points}, {span}). {counts}"

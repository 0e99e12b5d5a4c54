"""What is estimated of the rest of the pool, and how far that held: a larger budget bought some of what a smaller one estimated."""

from typing import Any

import numpy as np

from stages.report.best import top_classes
from stages.report.intervals import share_interval
from tuition.estimates import NONE
from tuition.files import read_array, read_json
from tuition.workspace import Workspace

Row = dict[str, Any]


def estimate_rows(budgets: list[int]) -> list[Row]:
    """A row a budget with estimates: estimator, samples, the agreement with the teacher that was expected with its interval, on how
    many held-out answers; and, where a larger budget bought some of these samples, how many agreed."""
    here, largest, rows = Workspace(), max(budgets), []
    for budget in sorted(budgets):
        files = here.estimates(budget)
        meta: Row = read_json(files.meta) if files.meta.is_file() else {"estimator": NONE}
        if meta["estimator"] == NONE:
            continue
        expected, held_out = meta["expected_agreement"], meta["held_out"]
        row = {"budget": budget, "estimator": meta["estimator"], **expected, "held_out": held_out["answers"]}
        row |= {"samples": meta["samples"], "worst": [one["class"] for one in meta["worst_classes"][:3]]}
        rows.append(row | _later(budget, largest))
    return rows


def _later(budget: int, largest: int) -> Row:
    """Of the samples that `budget` estimated and `largest` bought: `later`, their number, and `true`, the share that agrees, with its
    interval; `later` 0 where there are none."""
    here = Workspace()
    bought, files = here.outputs(largest), here.estimates(budget)
    classes = top_classes(bought.signal("label"), bought.signal("logits"))
    if budget == largest or classes is None:
        return {"later": 0}
    positions, estimated = np.asarray(read_array(bought.positions)), np.asarray(read_array(files.positions))
    place = np.searchsorted(estimated, positions).clip(max=len(estimated) - 1)
    known = (estimated[place] == positions) & (classes >= 0)
    named = np.asarray(read_array(files.probabilities)[place[known]]).argmax(axis=1)
    hits, count = int((named == classes[known]).sum()), int(known.sum())
    low, high = share_interval(hits, count)
    return {"later": count, "true": hits / count if count else 0.0, "true_low": low, "true_high": high}


def estimates_text(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| calls | estimator | samples | expected agreement | held-out answers | where it was bought later |",
        "|---:|:---|---:|:---|---:|:---|",
    ]
    for row in rows:
        expected = f"{_percent(row['share'])} ({_percent(row['low'])} … {_percent(row['high'])})"
        later = "–"
        if row["later"]:
            later = f"{_percent(row['true'])} ({_percent(row['true_low'])} … {_percent(row['true_high'])}), of {row['later']}"
        lines.append(
            f"| {row['budget']} | `{row['estimator']}` | {row['samples']} | {expected} | {row['held_out']} | {later} |"
        )
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

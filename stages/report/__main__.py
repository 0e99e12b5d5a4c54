"""The study's report: `python -m stages.report` writes the files of `report/`.

This module knows which files there are; what they say is made in `study` (numbers), `text` (words) and `pictures`.
"""

from math import isnan
from pathlib import Path
from typing import Any

from stages.report import pictures, study, text
from tuition.errors import run
from tuition.files import atomic, write_json
from tuition.params import load
from tuition.tables import write_rows

FOLDER = Path("report")


def main(argv: list[str]) -> None:
    params = load()
    found = study.collect(params)
    summary, paired = study.summary_rows(found), study.paired_rows(found)
    needed = study.needed_rows(found, summary)

    more = study.TRANSFER_COLUMNS if found["transfer"] else []
    write_rows(FOLDER / "cells.csv", [*study.CELL_COLUMNS, *more], study.cell_rows(found))
    write_rows(FOLDER / "summary.csv", [*study.SUMMARY_COLUMNS, *more[:1]], summary)
    write_rows(FOLDER / "paired.csv", study.PAIRED_COLUMNS, paired)
    write_rows(FOLDER / "curve.csv", study.CURVE_COLUMNS, summary)
    write_json(FOLDER / "metrics.json", nested(summary, found["spend"]))
    pictures.write(pictures.accuracy(found, summary), FOLDER / "accuracy")
    pictures.write(pictures.paired(found, paired), FOLDER / "paired")
    with atomic(FOLDER / "report.md") as file:
        file.write(text.report(params, found, summary, paired, needed).encode())


def nested(summary: list[dict[str, Any]], spend: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What `dvc metrics show` prints: {budget: {method: figures}, "spend": {budget: calls and cost}}, without nan."""
    figures: dict[str, Any] = {"spend": {str(b): {"calls": s["calls"], "cost": s["cost"]} for b, s in spend.items()}}
    for row in summary:
        known = {key: round(row[key], 6) for key in ("top1", "low", "high", "transfer_top1") if not isnan(row[key])}
        figures.setdefault(str(row["budget"]), {})[row["method"]] = known
    return figures


if __name__ == "__main__":
    run(main)

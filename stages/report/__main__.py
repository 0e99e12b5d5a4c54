"""The study's report: `python -m stages.report` writes the files of `report/`.

This module knows which files there are; what they say is made in `study` (numbers), `text` (words), `pictures` and `page`.
"""

from collections.abc import Sequence
from math import isnan
from types import ModuleType
from typing import Any

from stages.report import by_text, language, language_page, page, pictures, retrieval, retrieval_page, study, text
from stages.report.estimated import estimate_rows
from tuition.errors import as_utf8, read_arguments, run
from tuition.files import atomic, write_json
from tuition.params import Params, load
from tuition.tables import write_rows
from tuition.workspace import Report, Workspace

TASKS = {"retrieval": (retrieval, retrieval_page), "generate": (language, language_page)}  # rows, page


def main(argv: list[str]) -> None:
    read_arguments("stages.report", argv)
    params, report = load(), Workspace().report
    if params.data.task in TASKS:
        _report_task(params, report, *TASKS[params.data.task])
        return
    collected = study.collect_study(params)
    collected["estimates"] = estimate_rows(collected["budgets"])
    summary, paired = study.summary_rows(collected), study.paired_rows(collected)
    needed = study.needed_rows(collected, summary)

    more = study.TRANSFER_COLUMNS if collected["transfer"] else []
    write_rows(report.cells, [*study.CELL_COLUMNS, *more], study.cell_rows(collected))
    write_rows(report.summary, [*study.SUMMARY_COLUMNS, *more[:1]], summary)
    write_rows(report.paired, study.PAIRED_COLUMNS, paired)
    write_rows(report.curve, study.CURVE_COLUMNS, summary)
    write_json(report.metrics, nested(summary, collected["spend"]))
    pictures.write_picture(pictures.accuracy_figure(collected, summary), report.accuracy_picture)
    pictures.write_picture(pictures.paired_figure(collected, paired), report.paired_picture)
    with atomic(report.text) as file:
        file.write(text.report_text(params, collected, summary, paired, needed).encode())
    with atomic(report.page) as file:
        file.write(as_utf8(page.report_page(params, collected, summary)))


def _report_task(params: Params, report: Report, rows: ModuleType, page: ModuleType) -> None:
    """The same files of a study of another task, whose figures `rows` knows and whose words `page`."""
    collected = rows.collect(params)
    summary, paired = rows.summary_rows(collected), by_text.paired_rows(collected)
    write_rows(report.cells, rows.CELL_COLUMNS, by_text.cell_rows(collected, rows.CELL_COLUMNS))
    write_rows(report.summary, rows.SUMMARY_COLUMNS, summary)
    write_rows(report.paired, by_text.PAIRED_COLUMNS, paired)
    write_rows(report.curve, rows.CURVE_COLUMNS, summary)
    write_json(report.metrics, nested(summary, collected["spend"], rows.FIGURES))
    shares = by_text.as_shares(collected, summary, rows.FIGURE)
    pictures.write_picture(pictures.accuracy_figure(*shares), report.accuracy_picture)
    pictures.write_picture(pictures.paired_figure(collected, paired), report.paired_picture)
    with atomic(report.text) as file:
        file.write(page.report_text(params, collected, summary, paired).encode())
    with atomic(report.page) as file:
        file.write(as_utf8(page.report_page(params, collected, summary, paired)))


FIGURES = ("top1", "low", "high", "transfer_top1")


def nested(
    summary: list[dict[str, Any]], spend: dict[int, dict[str, Any]], kept: Sequence[str] = FIGURES
) -> dict[str, Any]:
    """What `dvc metrics show` prints: {budget: {method: figures}, "spend": {budget: calls and cost}}, without nan."""
    figures: dict[str, Any] = {"spend": {str(b): {"calls": s["calls"], "cost": s["cost"]} for b, s in spend.items()}}
    for row in summary:
        known = {key: round(row[key], 6) for key in kept if not isnan(row[key])}
        figures.setdefault(str(row["budget"]), {})[row["method"]] = known
    return figures


if __name__ == "__main__":
    run(main)

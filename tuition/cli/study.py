"""What a study came to, on one screen, from the files of `report/` and `spend/`."""

import json
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuition.errors import run
from tuition.spend import purchases_beside, remarks, total_spend
from tuition.tables import read_rows
from tuition.workspace import Workspace, cell_name


def print_summary(folder: Path, console: Console | None = None) -> None:
    """Print the table of the study in `folder` (the repository's root), what was spent and where to look.

    Raises UserError where there is no report yet.
    """
    console = console or Console()
    here = Workspace(folder)
    summary, paired = read_rows(here.report.summary), read_rows(here.report.paired)
    probed = any(row.get("transfer_top1", "nan") != "nan" for row in summary)
    to_kd = {(r["budget"], r["method"]): r for r in paired if r["baseline"] == "kd"}
    budgets = list(dict.fromkeys(r["budget"] for r in summary))

    against = _against(here)
    figure = "ndcg10" if against == "relevance" else "top1"  # as `targets.truth.headline` has it, without NumPy
    table = Table(title=f"{_figure(against)} on the test split (± half a 95 % interval)", title_justify="left")
    table.add_column("method")
    for budget in budgets:
        table.add_column(f"{budget} calls", justify="right")
        if to_kd:
            table.add_column("− kd, points", justify="right", style="dim")
        if probed:
            table.add_column("transfer", justify="right")
    for method in dict.fromkeys(r["method"] for r in summary):
        cells = [escape(method)]
        for budget in budgets:
            row = next(r for r in summary if (r["budget"], r["method"]) == (budget, method))
            cells.append(_value(100 * float(row[figure]), 100 * float(row["low"]), 100 * float(row["high"])))
            if to_kd:
                other = to_kd.get((budget, method))
                cells.append(_difference(other) if other else "")
            if probed:
                cells.append(f"{100 * float(row['transfer_top1']):.2f}")
        table.add_row(*cells)
    console.print(table)
    _print_spend(console, here)
    _print_places(console, here)


def _against(here: Workspace) -> str | None:
    """What the table's shares are held against, as the results of its first cell say."""
    first = read_rows(here.report.cells)[0]
    path = here.results(cell_name(first["budget"], first["method"], first["seed"])).metrics
    return json.loads(path.read_text()).get("against") if path.is_file() else None


def _figure(against: str | None) -> str:
    return {
        "teacher": "Agreement with the teacher, %,",
        "relevance": "nDCG@10 %",
        "references": "Token accuracy %",
    }.get(against or "", "Top-1 %")


def _print_spend(console: Console, here: Workspace) -> None:
    spend = [json.loads(path.read_text()) for path in sorted(here.spends.glob("*.json"))]
    spend = [s for s in spend if str(s["budget"]) in {r["budget"] for r in read_rows(here.report.summary)}]
    if not spend:
        return
    bill = max(spend, key=lambda s: s["calls"])  # budgets are nested: the largest holds the others
    calls, cost = total_spend(bill)
    new = sum(s["new_calls"] for s in spend)
    beside = ", ".join(f"{number} for {what}" for what, (number, _) in purchases_beside(bill).items())
    console.print(
        f"Spent: [bold]{calls}[/bold] teacher calls in all{f' ({beside})' if beside else ''}, "
        f"cost {cost:.2f}; [bold]{new}[/bold] new in the last run of teach."
    )
    for line in remarks(bill):
        console.print(f"       {escape(line)}")


def _print_places(console: Console, here: Workspace) -> None:
    console.print("Look:  report/report.html (open it in a browser), report/report.md (the same in words)")
    console.print("       mlflow ui --backend-store-uri sqlite:///mlflow.db")
    path = here.report.registered
    registered = json.loads(path.read_text()) if path.is_file() else {}
    # A register that failed leaves what an earlier study registered: that is not this one's.
    cells = {cell_name(row["budget"], row["method"], row["seed"]) for row in read_rows(here.report.cells)}
    if registered.get("cell") in cells:
        place = escape(f"models:/{registered['name']}@{registered['alias']}")
        console.print(
            f"       [bold]{place}[/bold] is version {registered['version']}, cell {escape(str(registered['cell']))}"
        )
        console.print(f"       {escape(str(registered['reason']))}")
        from tuition.registry.present import why_missing  # what it needs is heavy

        if why := why_missing(here, registered):
            console.print(f"       [bold]But it is not to be had here:[/bold] {escape(why)}")


def _value(mean: float, low: float, high: float) -> str:
    return f"{mean:.2f}" if isnan(low) else f"{mean:.2f} ± {(high - low) / 2:.2f}"


def _difference(row: dict[str, Any]) -> str:
    mean, low, high = (float(row[key]) for key in ("difference", "low", "high"))
    return f"{mean:+.2f}" if isnan(low) else f"{mean:+.2f} ± {(high - low) / 2:.2f}"


def main(argv: list[str]) -> None:
    print_summary(Path("."))


if __name__ == "__main__":
    run(main)

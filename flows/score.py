"""A folder of images or a table of texts, classified by a registered model: a Prefect flow around `python -m tuition.registry.score`.

python -m flows.score PLACE [--model models:/<name>@champion] [--out predictions.csv] [--column NAME]
"""

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed, Failed

from flows.local.commands import Commands
from flows.run import runs
from tuition.errors import run
from tuition.params import load

SHOWN = 50  # rejected files or texts that the artifact names


@task(cache_policy=NO_CACHE, retries=0, persist_result=False)
def classify(folder: str, model: str, out: str, column: str | None, commands: Commands) -> Any:
    """Write the table `out`; the state it returns is the task's."""
    logger, last = get_run_logger(), [""]

    def line(text: str) -> None:
        last[0] = text
        logger.info(text)

    more = [] if column is None else ["--column", column]
    command = [sys.executable, "-m", "tuition.registry.score", folder, "--model", model, "--out", out, *more]
    status = commands.run(command, line)
    if commands.stopped:
        return Cancelled(message="ended with the flow")
    return Failed(message=f"exit status {status}: {last[0]}") if status else Completed(message=last[0])


@flow(name="score", retries=0, persist_result=False)
def score(folder: str, model: str | None = None, out: str = "predictions.csv", column: str | None = None) -> Any:
    """Classify every image below a folder, or every text of a table.

    Args:
        folder: Images of any kind, however deep; or a CSV, JSON Lines or Parquet file with texts.
        model: models:/<name>@champion or models:/<name>/<version>; by default the champion of params.yaml's register.name.
        out: The table to write, a row a file or text: its class and probability, or why it could not be read.
        column: Of a table, the column with the texts; by default that of params.yaml's data.columns.
    """
    model = model or f"models:/{load().registry.name}@champion"
    commands = Commands()
    runs.end_with_worker()
    try:
        state = classify(folder, model, out, column, commands, return_state=True)
    finally:  # on Ctrl-C, SIGTERM and cancellation too
        commands.stop()
    if not state.is_completed():
        return state
    create_markdown_artifact(
        summary(Path(out), folder, model),
        key="scores",
        description="How many of each class, and what could not be read.",
    )
    return Completed(message=state.message)


def summary(out: Path, folder: str, model: str) -> str:
    """The table of predictions in short: how many of each class, and the files or texts that could not be read."""
    counts: Counter[str] = Counter()
    rejected: list[tuple[str, str]] = []
    with out.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        of = (table.fieldnames or ["file"])[0]
        for number, row in enumerate(table):
            counts[row["class"]] += 1
            if not row["class"] and len(rejected) <= SHOWN:
                rejected.append((row[of] if of == "file" else f"row {number}", row["reason"]))
    total, unread = counts.total(), counts.pop("", 0)
    lines = [
        f"# {total:,} {of}s in {folder}",
        "",
        f"Classified by `{model}`: {out}",
        "",
        f"| class | {of}s |",
        "|---|---:|",
    ]
    lines += [f"| {label} | {count:,} |" for label, count in counts.most_common()]
    lines += ["", f"{unread:,} could not be read{':' if unread else '.'}", ""]
    lines += [f"- `{name}`: {reason}" for name, reason in rejected[:SHOWN]]
    return "\n".join(lines + ["- …"] * (len(rejected) > SHOWN)) + "\n"


def main(argv: list[str]) -> None:
    """Run the flow; exit with 1 where it failed."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.score", description="Classify a folder of images, or a table."
    )
    parser.add_argument(
        "folder", metavar="place", help="a folder of images, or a CSV, JSON Lines or Parquet file of texts"
    )
    parser.add_argument("--model", help="models:/<name>@champion; by default of register.name in params.yaml")
    parser.add_argument("--out", default="predictions.csv")
    parser.add_argument("--column", help="of a table, the column with the texts; by default that of params.yaml")
    options = parser.parse_args(argv)
    runs.run_to_the_end(score, options.folder, options.model, options.out, options.column)


if __name__ == "__main__":
    run(main)

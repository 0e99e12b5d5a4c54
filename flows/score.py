"""A folder of images, classified by a registered model: one Prefect flow around `python -m tuition.registry.score`.

python -m flows.score FOLDER [--model models:/<name>@champion] [--out predictions.csv]
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

SHOWN = 50  # rejected files that the artifact names


@task(cache_policy=NO_CACHE, retries=0, persist_result=False)
def classify(folder: str, model: str, out: str, commands: Commands) -> Any:
    """Write the table `out`; the state it returns is the task's."""
    logger, last = get_run_logger(), [""]

    def line(text: str) -> None:
        last[0] = text
        logger.info(text)

    status = commands.run(
        [sys.executable, "-m", "tuition.registry.score", folder, "--model", model, "--out", out], line
    )
    if commands.stopped:
        return Cancelled(message="ended with the flow")
    return Failed(message=f"exit status {status}: {last[0]}") if status else Completed(message=last[0])


@flow(name="score", retries=0, persist_result=False)
def score(folder: str, model: str | None = None, out: str = "predictions.csv") -> Any:
    """Classify every image below a folder.

    Args:
        folder: Images of any kind, however deep.
        model: models:/<name>@champion or models:/<name>/<version>; by default the champion of params.yaml's register.name.
        out: The table to write, a row a file: its class and probability, or why it could not be read.
    """
    model = model or f"models:/{load().registry.name}@champion"
    commands = Commands()
    runs.end_with_worker()
    try:
        state = classify(folder, model, out, commands, return_state=True)
    finally:  # on Ctrl-C, SIGTERM and cancellation too
        commands.stop()
    if not state.is_completed():
        return state
    create_markdown_artifact(
        summary(Path(out), folder, model), key="scores", description="Images a class, and those that could not be read."
    )
    return Completed(message=state.message)


def summary(out: Path, folder: str, model: str) -> str:
    """The table of predictions in short: images a class, and the files that could not be read."""
    with out.open(newline="", encoding="utf-8") as file:
        rows = [(row["file"], row["class"], row["reason"]) for row in csv.DictReader(file)]
    counts = Counter(label for _, label, _ in rows if label)
    rejected = [(name, reason) for name, label, reason in rows if not label]
    lines = [
        f"# {len(rows):,} files in {folder}",
        "",
        f"Classified by `{model}`: {out}",
        "",
        "| class | images |",
        "|---|---:|",
    ]
    lines += [f"| {label} | {count:,} |" for label, count in counts.most_common()]
    lines += ["", f"{len(rejected):,} could not be read{':' if rejected else '.'}", ""]
    lines += [f"- `{name}`: {reason}" for name, reason in rejected[:SHOWN]]
    return "\n".join(lines + ["- …"] * (len(rejected) > SHOWN)) + "\n"


def main(argv: list[str]) -> None:
    """Run the flow; exit with 1 where it failed."""
    parser = argparse.ArgumentParser(prog="python -m flows.score", description="Classify a folder of images.")
    parser.add_argument("folder")
    parser.add_argument("--model", help="models:/<name>@champion; by default of register.name in params.yaml")
    parser.add_argument("--out", default="predictions.csv")
    options = parser.parse_args(argv)
    runs.run_to_the_end(score, options.folder, options.model, options.out)


if __name__ == "__main__":
    run(main)

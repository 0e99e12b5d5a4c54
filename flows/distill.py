"""The whole study as one Prefect flow: a task for each DVC stage, in data order, cells in sequence or a few at a time.

    python -m flows.distill [-S section.key=value ...] [--parallel N]

This module knows no stage: their names and order come from `dvc dag`, what is due from `dvc status`.
"""

import argparse
import json
import re
import signal
import sys
from collections import deque
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.commands import Commands
from flows.overrides import apply
from stages import params as parameters
from stages.errors import run

DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
REPORT = Path("report/report.md")
KEPT = 15  # lines of a failed stage that the end of the flow repeats
HINTS = re.compile(r"(To track the changes with git|\s*git add |To enable auto staging|\s*dvc config |Use `dvc push`)")
Lines = dict[str, list[str]]


@task(task_run_name="{name}", cache_policy=NO_CACHE, retries=0, persist_result=False)
def reproduce(name: str, due: bool, commands: Commands, failures: Lines) -> Any:
    """Bring one stage up to date. The state it returns is the task's; a failed stage's last lines go to `failures`."""
    if not due:
        return Completed(message="up to date")
    logger, last = get_run_logger(), deque[str](maxlen=KEPT)

    def line(text: str) -> None:
        if not HINTS.match(text):
            last.append(text)
            logger.info(text)

    status = commands.run([*DVC, "repro", "--single-item", name], line)
    if commands.stopped:
        return Cancelled(message="ended with the flow")
    if status:
        failures[name] = list(last)
        return Failed(message=f"exit status {status}: {last[-1] if last else 'no output'}")
    return Completed(message="reproduced")


@flow(name="distill", retries=0, persist_result=False)
def distill() -> Any:
    """Reproduce every stage of the study; a failed cell stops what depends on it and nothing else.

    Leaves the artifact `study`: the report's table and the spend, or what failed.
    """
    commands, failures = Commands(), Lines()
    try:
        try:
            upstream = _upstream(_ask(commands, "dag", "--dot"))
            changed = json.loads(_ask(commands, "status", "--json")[-1])
        except RuntimeError as error:
            return Failed(message=str(error))
        due: set[str] = set()
        futures: dict[str, PrefectFuture[Any]] = {}
        for name in TopologicalSorter(upstream).static_order():
            if name in changed or due & upstream[name]:
                due.add(name)
            before = [futures[other] for other in sorted(upstream[name])]
            futures[name] = reproduce.submit(name, name in due, commands, failures, return_state=False, wait_for=before)
        wait(list(futures.values()))
    finally:  # on Ctrl-C, SIGTERM and cancellation too, while the tasks still run
        commands.stop()
    missing = [name for name, future in futures.items() if not future.state.is_completed()]
    text = _failed(failures, missing) if missing else _study(REPORT.read_text())
    create_markdown_artifact(text, key="study", description="The report's table and the spend, or what failed.")
    print(f"\n{text}", flush=True)
    if missing:
        return Failed(message=f"{len(failures)} of {len(futures)} stages failed: {', '.join(failures)}")
    return Completed(message=f"{len(futures)} stages are up to date, {len(due)} of them were due")


def _ask(commands: Commands, *arguments: str) -> list[str]:
    """The lines that a DVC command prints. Raises RuntimeError with them where it fails."""
    lines: list[str] = []
    if commands.run([*DVC, *arguments], lines.append):
        raise RuntimeError(f"dvc {' '.join(arguments)}: " + "\n".join(lines))
    return lines


def _upstream(dot: list[str]) -> dict[str, set[str]]:
    """Each stage, and the stages it needs, from the lines of `dvc dag --dot`."""
    upstream: dict[str, set[str]] = {}
    for line in dot:
        if found := re.fullmatch(r'\s*"([^"]+)"(?:\s*->\s*"([^"]+)")?;', line):
            first, second = found.groups()
            upstream.setdefault(first, set())
            if second:
                upstream.setdefault(second, set()).add(first)
    return upstream


def _study(report: str) -> str:
    """The report's title, table and spend, without pictures: an artifact cannot hold their files."""
    title, *sections = report.split("\n## ")
    wanted = [f"## {part}" for part in sections if part.startswith(("Results", "What was spent"))]
    lines = [title.splitlines()[0], "", *"\n".join(wanted).splitlines()]
    return "\n".join(line for line in lines if not line.startswith("![")).strip() + "\n"


def _failed(failures: Lines, missing: list[str]) -> str:
    parts = [f"## {name} failed\n\n```\n" + "\n".join(lines) + "\n```" for name, lines in failures.items()]
    waiting = [name for name in missing if name not in failures]
    if waiting:
        parts.append(f"Not run, because they need what failed: {', '.join(waiting)}.")
    return "\n\n".join(["# The study is not complete", *parts]) + "\n"


def _start_server() -> None:
    """Start Prefect's temporary server, where no other is set, deaf to Ctrl-C: the flow reports its end to it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server inherits this
    try:
        with get_client(sync_client=True):
            pass
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def main(argv: list[str]) -> None:
    """Check the parameters, run the flow, exit with 1 where a stage failed."""
    parser = argparse.ArgumentParser(prog="python -m flows.distill", description="Run the whole study.")
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="section.key=value",
                        help="change params.yaml first, as `dvc exp run -S` does")  # fmt: skip
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="stages at a time (default 1)")
    options = parser.parse_args(argv)
    if options.parallel < 1:
        parser.error(f"--parallel {options.parallel}: expected 1 or more")
    if options.set_param:
        apply(options.set_param)
    parameters.load()
    # Prefect raises in the flow on SIGTERM and then sends it again; a plain exit lets it end its server as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _start_server()
    threads = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=options.parallel))
    state = cast("State[Any]", distill.with_options(task_runner=threads)(return_state=True))
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run(main)

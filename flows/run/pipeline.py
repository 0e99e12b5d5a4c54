"""What DVC says of the pipeline: its stages, which of them need which, and which are due. This module runs none of them."""

import json
import re
import sys
from collections.abc import Collection, Iterable
from graphlib import TopologicalSorter

from flows.local.commands import Commands
from tuition.errors import UserError

DVC = [sys.executable, "-m", "flows.run.dvc", "--wait-for-lock"]
CELL = "cell "  # what a cell's task is called, before the cell's name
OF_CELLS = ("train@", "evaluate@")  # the stages of a cell, which bear its name
HINTS = re.compile(r"(To track the changes with git|\s*git add |To enable auto staging|\s*dvc config |Use `dvc push`)")
Upstream = dict[str, set[str]]  # a stage or task, and those that it needs


def dvc_lines(commands: Commands, *arguments: str) -> list[str]:
    """The lines that a DVC command prints. Raises UserError with them where it fails."""
    lines: list[str] = []
    if commands.run([*DVC, *arguments], lines.append):
        raise UserError(f"dvc {' '.join(arguments)}: " + "\n".join(lines))
    return lines


def read_pipeline(commands: Commands) -> tuple[Upstream, set[str]]:
    """The stages of `dvc.yaml`, in data order, with what they need; and those that must run, those behind them included."""
    upstream = parse_graph(dvc_lines(commands, "dag", "--dot"))
    changed = json.loads(dvc_lines(commands, "status", "--json")[-1])
    ordered: Upstream = {}
    due: set[str] = set()
    for name in TopologicalSorter(upstream).static_order():
        ordered[name] = upstream[name]
        if name in changed or due & upstream[name]:
            due.add(name)
    return ordered, due


def parse_graph(dot: Iterable[str]) -> Upstream:
    """Each stage, and the stages it needs, from the lines of `dvc dag --dot`."""
    upstream: Upstream = {}
    for line in dot:
        if found := re.fullmatch(r'\s*"([^"]+)"(?:\s*->\s*"([^"]+)")?;', line):
            first, second = found.groups()
            upstream.setdefault(first, set())
            if second:
                upstream.setdefault(second, set()).add(first)
    return upstream


def select_cells(upstream: Upstream, cells: Collection[str]) -> Upstream:
    """These cells, each such as 400-kd-0, with all that they need. Raises UserError for a cell that the study has not."""
    last = OF_CELLS[-1]
    valid = {name.removeprefix(last) for name in upstream if name.startswith(last)}
    if strange := sorted(set(cells) - valid):
        raise UserError(f"cells: {', '.join(strange)}: not in the study. Valid: {', '.join(sorted(valid))}")
    kept: set[str] = set()
    left = [last + cell for cell in cells]
    while left:
        name = left.pop()
        if name not in kept:
            kept.add(name)
            left += upstream[name]
    return {name: needs for name, needs in upstream.items() if name in kept}


def task_of(stage: str) -> str:
    """The task that a stage belongs to: its cell's, or its own."""
    return CELL + stage.partition("@")[2] if stage.startswith(OF_CELLS) else stage


def group_tasks(upstream: Upstream) -> tuple[dict[str, list[str]], Upstream]:
    """The tasks, each with its stages in data order, and which of them need which."""
    stages: dict[str, list[str]] = {}
    needs: Upstream = {}
    for name, above in upstream.items():
        task = task_of(name)
        stages.setdefault(task, []).append(name)
        needs.setdefault(task, set()).update({task_of(one) for one in above} - {task})
    return stages, needs

"""What DVC says of the pipeline: its stages, which of them need which, and which are due. This module runs none of them."""

import json
import re
import sys
from collections.abc import Collection, Iterable
from graphlib import TopologicalSorter

from flows.commands import Commands
from stages.errors import UserError

DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
CELLS = "evaluate@"  # the last stage of each cell bears its name
HINTS = re.compile(r"(To track the changes with git|\s*git add |To enable auto staging|\s*dvc config |Use `dvc push`)")
Upstream = dict[str, set[str]]  # a stage, and the stages that it needs


def ask(commands: Commands, *arguments: str) -> list[str]:
    """The lines that a DVC command prints. Raises UserError with them where it fails."""
    lines: list[str] = []
    if commands.run([*DVC, *arguments], lines.append):
        raise UserError(f"dvc {' '.join(arguments)}: " + "\n".join(lines))
    return lines


def read(commands: Commands) -> tuple[Upstream, set[str]]:
    """The stages of `dvc.yaml`, in data order, with what they need; and those that must run, those behind them included."""
    upstream = edges(ask(commands, "dag", "--dot"))
    changed = json.loads(ask(commands, "status", "--json")[-1])
    ordered: Upstream = {}
    due: set[str] = set()
    for name in TopologicalSorter(upstream).static_order():
        ordered[name] = upstream[name]
        if name in changed or due & upstream[name]:
            due.add(name)
    return ordered, due


def edges(dot: Iterable[str]) -> Upstream:
    """Each stage, and the stages it needs, from the lines of `dvc dag --dot`."""
    upstream: Upstream = {}
    for line in dot:
        if found := re.fullmatch(r'\s*"([^"]+)"(?:\s*->\s*"([^"]+)")?;', line):
            first, second = found.groups()
            upstream.setdefault(first, set())
            if second:
                upstream.setdefault(second, set()).add(first)
    return upstream


def only(upstream: Upstream, cells: Collection[str]) -> Upstream:
    """These cells, each such as 400-kd-0, with all that they need. Raises UserError for a cell that the study has not."""
    valid = {name.removeprefix(CELLS) for name in upstream if name.startswith(CELLS)}
    if strange := sorted(set(cells) - valid):
        raise UserError(f"cells: {', '.join(strange)}: not in the study. Valid: {', '.join(sorted(valid))}")
    kept: set[str] = set()
    left = [CELLS + cell for cell in cells]
    while left:
        name = left.pop()
        if name not in kept:
            kept.add(name)
            left += upstream[name]
    return {name: needs for name, needs in upstream.items() if name in kept}

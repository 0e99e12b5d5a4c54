"""The study's tasks: one for each cell, and one for each other DVC stage that is due, in data order, as many at a time as asked.

Whether a stage must run is DVC's to say (`pipeline`); this module decides when, tries again what may succeed then, and tells the end.
"""

import os
import queue
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.local.commands import Commands
from flows.local.lock import keep_lockfile
from flows.remote import elsewhere, runners
from flows.run import artifact, pipeline
from tuition import forkserver
from tuition.errors import UserError
from tuition.params import Flows, Params
from tuition.params.places import check_watched
from tuition.tracking.lineage import check_git
from tuition.workspace import Workspace

KEPT = 15  # lines of a failed task that the end of the flow repeats
KEEP_SECONDS = 60  # between copies of dvc.lock: with hundreds of cells it takes a second to read
DELAYS = (10, 60, 180)  # seconds before a task is tried again; the last one stays
USERS = "exited with 2"  # what DVC says of a stage that ended with a user's error, which no retry mends
CHECK = [sys.executable, "-m", "stages.register", "check"]
Lines = dict[str, list[str]]
Step = Callable[[Callable[[str], object]], int]  # runs a stage, gives what it prints line by line; its exit status


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def reproduce(name: str, step: Step, retries: int, commands: Commands, failures: Lines) -> Any:
    """Run one task's step, again where that may help; a failed task's last lines go to `failures`."""
    logger = get_run_logger()
    for attempt in range(retries + 1):
        last = deque[str](maxlen=KEPT)

        def line(text: str, last: deque[str] = last) -> None:
            if not pipeline.HINTS.match(text):
                last.append(text)
                logger.info(text)

        status = step(line)
        if not status:
            return Completed(message="reproduced")
        if attempt == retries or status == UserError.status or any(USERS in text for text in last):
            break
        delay = DELAYS[min(attempt, len(DELAYS) - 1)]
        logger.warning(f"exit status {status}; attempt {attempt + 2} of {retries + 1} in {delay} s")
        commands.pause(delay)
    if commands.stopped:
        return Cancelled(message="ended with the flow")
    failures[name] = list(last)
    return Failed(message=f"exit status {status}: {last[-1] if last else 'no output'}")


def run_study(commands: Commands, params: Params, cells: list[str] | None = None) -> tuple[str, str, bool]:
    """Bring the study, or some of its cells, up to date; a failed task stops what needs it and nothing else.

    Returns (a line on what came of it, the artifact's text, whether all is complete). Raises UserError where DVC cannot read
    the pipeline, and for cells that the study has not.
    """
    check_git()
    check_watched(params)
    upstream, due = pipeline.read_pipeline(commands)
    if cells:
        upstream = pipeline.select_cells(upstream, cells)
        due &= set(upstream)
    stages, graph = pipeline.group_tasks({name: upstream[name] & due for name in upstream if name in due})
    paying = [name for name in graph if name.startswith("teach@")]
    if paying and not cells:  # what would stop the study's end is found before anything is paid
        graph["check"] = {name for name in ("prepare",) if name in graph}
        for name in paying:
            graph[name] = graph[name] | {"check"}
    failures: Lines = {}
    with ExitStack() as during:
        if (
            graph and sys.platform == "linux" and forkserver.VARIABLE not in os.environ
        ):  # elsewhere libraries bear no fork
            commands.environment[forkserver.VARIABLE] = during.enter_context(forkserver.running())
        driver = during.enter_context(runners.open_runner(params.flows, commands)) if graph else None
        needs = {task: {name: sorted(upstream[name]) for name in names} for task, names in stages.items()}
        steps = {name: _step(name, needs.get(name, {}), commands, driver) for name in graph}
        done = _in_order(graph, steps, params.flows, commands, failures)
    waiting = [name for name in graph if name not in done and name not in failures]
    if failures or waiting:
        line = f"{len(failures)} of {len(graph)} tasks failed: {', '.join(failures)}"
        return line, artifact.failure_artifact(failures, waiting), False
    line = f"{len(upstream)} stages are up to date, {len(due)} of them were due"
    return line, f"# {line}: {', '.join(cells)}\n" if cells else artifact.study_artifact(), True


def _step(task: str, stages: dict[str, list[str]], commands: Commands, driver: elsewhere.Driver | None) -> Step:
    """A task's stages, each with what it needs: in one process of DVC here, or on another machine where there is one.

    All but cells stay here: they need the ledger, or read every cell.
    """
    if task == "check":
        return partial(commands.run, CHECK)
    if driver is not None and task.startswith(pipeline.CELL):
        return partial(elsewhere.reproduce_elsewhere, driver, stages)
    return partial(commands.run, [*pipeline.DVC, "repro", "--single-item", *stages])


def _in_order(
    graph: pipeline.Upstream,
    steps: dict[str, Step],
    settings: Flows,
    commands: Commands,
    failures: Lines,
) -> set[str]:
    """Run the steps, each when all that it needs is complete; returns those that are."""
    sorter, finished = TopologicalSorter(graph), queue.SimpleQueue[str]()
    sorter.prepare()
    futures: dict[str, PrefectFuture[Any]] = {}
    complete: set[str] = set()
    kept = time.monotonic()
    shared = {"retries": settings.retries, "commands": commands, "failures": failures}
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=settings.parallel)
    with runner:
        try:
            while sorter.is_active():
                for name in sorter.get_ready():
                    given = {"name": name, "step": steps[name], **shared}
                    needed = [futures[one] for one in sorted(graph[name])]
                    futures[name] = runner.submit(reproduce, given, wait_for=needed)
                    futures[name].add_done_callback(_putting(finished, name))
                if len(futures) == len(complete) + len(failures) or commands.stopped:
                    break  # what is left needs what failed
                name = finished.get()
                futures[name].wait()  # takes its state from the thread; Prefect's server may not know it yet
                if futures[name].state.is_completed():
                    complete.add(name)
                    sorter.done(name)
                    if time.monotonic() - kept > KEEP_SECONDS and keep_lockfile(Workspace()):
                        kept = time.monotonic()
                else:
                    failures.setdefault(name, [futures[name].state.message or "no output"])
        except BaseException:  # Ctrl-C, SIGTERM and cancellation, while tasks still run
            commands.stop()
            raise
    return complete


def _putting(finished: queue.SimpleQueue[str], name: str) -> Callable[[object], None]:
    return lambda _: finished.put(name)

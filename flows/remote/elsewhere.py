"""A stage that runs on another machine, in a clone of its own; only DVC's remote is between that clone and this workspace.

The driver pushes what the stage needs, once, and submits `work` to Dask or Ray; the worker's command pulls, runs and pushes; the driver
restores what came out, and DVC has nothing left to do for that stage.
"""

import json
import os
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

import flows
from flows.local.commands import Commands
from flows.remote import clones
from flows.remote.exchange import Entry
from flows.run import pipeline
from tuition.files import read_text
from tuition.workspace import Workspace

POLL = 1.0  # seconds
KEPT = 40  # lines of a stage that failed elsewhere
Answer = tuple[int, list[str], dict[str, Entry]]  # exit status, last lines, what the stage made


@dataclass
class Driver:
    """What the driver of a flow run keeps for all its cells."""

    commands: Commands
    submit: Callable[[Any, dict[str, Any]], Any]  # to the cluster; a future
    cancel: Callable[[Any], object]
    context: Context  # of the flow
    given: dict[str, Any]  # what every cell is given
    entries: dict[str, Entry] = field(default_factory=dict)  # of the stages whose outs are in the remote
    lock: threading.Lock = field(default_factory=threading.Lock)


def driver_facts() -> dict[str, Any]:
    """What every cell is given: the driver's parameters, pipeline and code, as they are now."""
    here = Workspace()
    return {
        "params": read_text(here.params),
        "pipeline": read_text(here.pipeline),
        "code": clones.code_digests(),
        "commit": clones.short_commit(),
        "driver": here.lock.read_text(),
    }


def reproduce_elsewhere(driver: Driver, stages: dict[str, list[str]], line: Callable[[str], object]) -> int:
    """Run stages one after another on other machines, each with those that it needs; an exit status."""
    for name, needs in stages.items():
        if status := _reproduce(driver, name, needs, line):
            return status
    return 0


def _reproduce(driver: Driver, name: str, needs: list[str], line: Callable[[str], object]) -> int:
    """Run the stage `name`, which `needs` other stages, on another machine, and have here what it made; an exit status."""
    with driver.lock:  # what several cells need is pushed once
        if missing := [one for one in needs if one not in driver.entries]:
            status, pushed = run_exchange(driver.commands, "share", {"stages": missing}, line)
            if status:
                return status
            driver.entries |= pushed
    entries = {one: driver.entries[one] for one in needs}
    job = {**driver.given, "name": name, "entries": entries}
    line(f"{name} is sent elsewhere")
    status, lines, made = _sent(driver, {"name": name, "job": job})
    if status:
        for text in lines:
            line(text)
        return status
    line(lines[0])  # where it ran
    status, _ = run_exchange(driver.commands, "restore", {"name": name, "entry": made[name]}, line)
    if not status:
        driver.entries |= made
    return status


@task(task_run_name="{name} elsewhere", cache_policy=NO_CACHE, persist_result=False)
def run_in_clone(name: str, job: dict[str, Any]) -> Answer:
    """On the worker: run the stage in a clone, until it ends or nobody waits for it any more."""
    logger = get_run_logger()
    first: list[str] = []
    last = deque[str](maxlen=KEPT)

    def line(text: str) -> None:
        if pipeline.HINTS.match(text):
            return
        if not first:
            first.append(text)
        last.append(text)
        logger.info(text)

    commands = Commands()
    with _watched(commands):
        status, made = run_exchange(commands, "work", {**job, "clones": clones.worker_clones()}, line)
    return status, [*first, *last] if not status else list(last), made


def run_exchange(
    commands: Commands, what: str, given: dict[str, Any], line: Callable[[str], object]
) -> tuple[int, Any]:
    """Run `flows.remote.exchange`; its exit status, and what it tells where that is 0."""
    with tempfile.TemporaryDirectory(prefix="tuition-") as folder:
        file = Path(folder) / "given.json"
        file.write_text(json.dumps(given))
        home = Path(flows.__file__).parents[1] if what == "work" else None  # any place that has this package
        status = commands.run([sys.executable, "-m", "flows.remote.exchange", what, str(file)], line, home)
        return status, json.loads(file.read_text()) if status == 0 else {}


def _sent(driver: Driver, parameters: dict[str, Any]) -> Answer:
    """What `work` gives. A cluster tries again by itself where a worker dies; what it cannot mend is an exit status of 1."""
    try:
        # As the flow itself: a task's context goes along with what it submits, and this thread's task has locks among its parameters.
        future = driver.context.copy().run(driver.submit, run_in_clone, parameters)
        while True:
            try:
                return future.result(timeout=POLL)
            except TimeoutError:
                if driver.commands.stopped:
                    driver.cancel(future)
                    return -signal.SIGTERM, [], {}
    except Exception as error:  # of Dask, Ray or Prefect
        return 1, [f"{type(error).__name__}: {error}"], {}


@contextmanager
def _watched(commands: Commands) -> Iterator[None]:
    """Stop the commands as soon as Dask no longer wants what this thread computes; Ray ends the whole process then."""
    is_awaited, over = _awaited(), threading.Event()

    def watch() -> None:
        while not over.wait(POLL):
            if not is_awaited():
                commands.stop()
                return

    thread = threading.Thread(target=watch, daemon=True, name="is it still wanted")
    thread.start()
    try:
        yield
    finally:
        over.set()
        commands.stop()


def _awaited() -> Callable[[], bool]:
    if "distributed" not in sys.modules:
        parent = os.getppid()
        return lambda: os.getppid() == parent
    import distributed

    try:
        worker = distributed.get_worker()
    except ValueError:  # not in a worker of Dask
        return lambda: True
    key = worker.get_current_task()

    def is_awaited() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state in ("executing", "long-running")

    return is_awaited

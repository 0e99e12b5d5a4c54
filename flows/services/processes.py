"""Processes that outlive the command that starts them: each is known by a mark of its own, and found and ended with all its children.

A process number says little: it is given anew after a process ends and after a reboot. So a service is known by its number
together with the time of its start, and whatever it starts inherits its mark in the environment.
"""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

MARK = "TUITION_SERVICE"
GRACE = 20.0  # seconds between SIGTERM and SIGKILL
Record = dict[str, Any]  # of a service: {"mark": str, "pid": int | None, "created": float | None, "url": str | None, …}


def new_record(url: str | None = None) -> Record:
    """The record of a service that has not started yet: written down first, so that no start goes unrecorded."""
    return {"mark": uuid.uuid4().hex, "pid": None, "created": None, "url": url}


def launch_process(record: Record, command: list[str], environment: Mapping[str, str], log: Path) -> None:
    """Start `command` in a session of its own, its output in `log` (the last one is kept as `.old`); completes the record."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        os.replace(log, log.with_suffix(".old"))
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**environment, MARK: record["mark"]},
            start_new_session=True,
        )
    record["pid"], record["created"] = process.pid, psutil.Process(process.pid).create_time()


def is_alive(record: Record) -> bool:
    """Whether the service's own process runs; its children may run without it."""
    try:
        return record["pid"] is not None and _is(psutil.Process(record["pid"]), record)
    except psutil.Error:
        return False


def find_processes(records: list[Record]) -> list[psutil.Process]:
    """Every process of these services: their own, all that carry a mark of theirs, and all descendants of these."""
    marks, running = {record["mark"] for record in records}, {}
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                running[process.pid] = (process, process.ppid())
        except psutil.Error:
            continue
    found: dict[int, psutil.Process] = {}
    for process, _ in running.values():
        if _mark(process) in marks or any(process.pid == record["pid"] and _is(process, record) for record in records):
            found[process.pid] = process
    grown = True
    while grown:
        children = {pid: process for pid, (process, parent) in running.items() if parent in found and pid not in found}
        found |= children
        grown = bool(children)
    return list(found.values())


def end_services(records: list[Record], grace: float = GRACE) -> list[psutil.Process]:
    """End these services: SIGTERM, SIGKILL for what is left after `grace` seconds. Returns what could not be ended."""
    processes = find_processes(records)
    # A service and what it started first, no deeper: a worker does not end its flow runs, but a flow run its commands.
    pids = {process.pid for process in processes}
    tops = {process.pid for process in processes if _parent(process) not in pids}
    for process in processes:
        if process.pid in tops or _parent(process) in tops:
            _send(process, signal.SIGTERM)
    wait_until(lambda: not find_processes(records), grace)
    for _ in range(20):  # again for what is started while the others are being ended
        left = find_processes(records)
        if not left:
            return []
        for process in left:
            _send(process, signal.SIGKILL)
        time.sleep(0.2)
    return find_processes(records)


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.2) -> bool:
    """Wait until the condition holds; False where it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def _is(process: psutil.Process, record: Record) -> bool:
    """Whether this process, of the record's number, is the one recorded: the clock may have been set since."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(process.create_time() - record["created"]) < 0.5 or _mark(process) == record["mark"]
    except psutil.Error:
        return False


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # another user's, or it has just ended
        return None


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)  # psutil makes sure that the number is still this process's

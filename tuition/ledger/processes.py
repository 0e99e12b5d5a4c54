"""Which process a run belongs to, and whether it still lives: on this machine by its start, on another one by its heartbeat."""

import os
import socket
from functools import cache
from pathlib import Path

import psutil
import sqlalchemy as sa

SILENT_SECONDS = 900  # a run on another machine that has not been heard of for so long is taken for dead


def is_alive(run: sa.Row, now: float) -> bool:
    """Whether the process of a run (a row of `runs`) lives, as far as can be known from here."""
    if run.host != host():
        return now - run.heartbeat < SILENT_SECONDS
    began = started(run.pid)
    return began is not None and abs(began - run.process_started) < 1.0


def started(pid: int) -> float | None:
    """When a process started, in a measure that no change of the clock moves; None where it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if stat.exists():  # Linux: clock ticks since boot
            state, *rest = stat.read_text().rpartition(")")[2].split()
            return None if state == "Z" else float(rest[18])
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


@cache
def host() -> str:
    """This machine, its boot, and the namespace in which process numbers mean something here."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname(), boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))]
    return "/".join([*parts, os.readlink(space)] if space.is_symlink() else parts)

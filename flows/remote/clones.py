"""Clones of the repository on other machines: which one a cell gets, and whether it holds the driver's code."""

import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.local.lock import is_dvc_workspace, mend_lockfiles, sign_lock
from tuition.errors import UserError
from tuition.tracking.lineage import run_git
from tuition.workspace import Workspace, given

VARIABLE = "TUITION_CLONE"  # of a worker: its clone, or several, with `:` between
POLL = 0.5  # seconds
SHOWN = 5  # files that an error names


def worker_clones() -> list[str]:
    """The clones of this worker: those that TUITION_CLONE names, or the current directory."""
    return [str(given(one)) for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one] or [str(Path.cwd())]


@contextmanager
def free_clone(folders: Sequence[str], driver: str) -> Iterator[Path]:
    """The first of the clones that is free, locked as a flow locks its workspace; waits for one.

    `driver` is what the lock of the driver's own workspace says. Raises UserError where one of them is no clone or is that workspace.
    """
    places = [Workspace(Path(folder)) for folder in folders]
    for place in places:
        if not is_dvc_workspace(place):
            raise UserError(
                f"{VARIABLE}: {place} on {socket.gethostname()} is no clone: found no dvc.yaml and .dvc; "
                "start the worker in a clone of its own, or name it there"
            )
    while True:
        for place in places:
            place.lock.parent.mkdir(parents=True, exist_ok=True)
            with place.lock.open("a+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.seek(0)
                    if file.read() == driver:
                        raise UserError(
                            f"{VARIABLE}: {place} is the workspace of the flow itself; a worker needs a clone of its own"
                        ) from None
                    continue
                sign_lock(file, "a cell of another machine's flow")
                mend_lockfiles(place)
                yield place.path
                return
        time.sleep(POLL)


def code_digests() -> dict[str, str]:
    """The sha256 of every file of code in the current directory that a stage may run, committed or not."""
    files = sorted(path for folder in ("stages", "tuition") for path in Path(folder).rglob("*.py"))
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def short_commit() -> str:
    """The current directory's git commit, short; "none" where it has none."""
    found = run_git("rev-parse", "--short", "HEAD") if run_git("ls-files") else None
    return found.decode().strip() if found else "none"


def clone_place() -> str:
    return f"{Path.cwd()} on {socket.gethostname()}"


def check_code(driver: dict[str, str], its_commit: str) -> None:
    """Raises UserError where the clone in the current directory has other code than the driver."""
    here = code_digests()
    if differ := sorted(name for name in here.keys() | driver.keys() if here.get(name) != driver.get(name)):
        more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        raise UserError(
            f"{clone_place()}: its code (commit {short_commit()}) is not the driver's (commit {its_commit}): "
            f"{', '.join(differ[:SHOWN])}{more}; "
            "commit there, and `git checkout . && git pull` here"
        )

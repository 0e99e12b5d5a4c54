"""One flow at a time works in a workspace: the lock that says so, held by a living process and by nothing else."""

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tuition.errors import UserError
from tuition.files import atomic
from tuition.workspace import Workspace

_held: set[Path] = set()  # by this process: a flow that runs another one's tasks goes on under its own lock


@contextmanager
def workspace_lock(name: str) -> Iterator[None]:
    """Hold the workspace in the current directory for the flow run `name`.

    Raises UserError where the current directory is no workspace, and where another flow holds it, naming that one.
    """
    here = Workspace()
    if not is_dvc_workspace(here):
        raise UserError(f"{Path.cwd()}: no workspace: found no dvc.yaml and .dvc; flows run from the repository's root")
    place = here.lock.absolute()
    if place in _held:
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(f"{Path.cwd()}: {_holder(file.read())}; wait for it, stop it, or work in a clone") from None
        sign_lock(file, name)
        _held.add(place)
        try:
            mend_lockfiles(here)
            yield
        finally:
            _held.discard(place)


def is_dvc_workspace(workspace: Workspace) -> bool:
    """Whether there are dvc.yaml and .dvc."""
    return workspace.pipeline.is_file() and workspace.dvc.is_dir()


def sign_lock(file: TextIO, name: str) -> None:
    """Write into the lock, which is held, by whom."""
    file.truncate(0)
    file.write(json.dumps({"flow": name, "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
    file.flush()


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"the flow {holder['flow']!r} works here (process {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError):
        return "another flow works here"


def mend_lockfiles(workspace: Workspace) -> None:
    """DVC writes its list of locks, and dvc.lock, in place: a kill in the middle leaves half of them, which no DVC command reads again.

    Of dvc.lock the copy that `keep_lockfile` made comes back. A stage that it does not know of yet is due again; no call is paid again.
    """
    try:
        json.loads(workspace.dvc_locks.read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        workspace.dvc_locks.unlink(missing_ok=True)
    lockfile, copy = workspace.lockfile, workspace.lockfile_copy
    if keep_lockfile(workspace) or not lockfile.exists():
        return
    os.replace(lockfile, lockfile.with_name(f"{lockfile.name}.damaged"))
    what = "and there is no copy: all stages are due"
    if copy.exists():
        shutil.copy2(copy, lockfile)
        what = f"it is again as it was at {time.strftime('%H:%M:%S on %Y-%m-%d', time.localtime(copy.stat().st_mtime))}"
    print(f"{lockfile.name}: DVC was killed while it wrote it; {what}", file=sys.stderr)


def keep_lockfile(workspace: Workspace) -> bool:
    """Copy dvc.lock, where it is whole. Whether it was."""
    import voluptuous
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    try:
        content = workspace.lockfile.read_bytes()
        COMPILED_LOCKFILE_SCHEMA(yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, yaml.YAMLError, voluptuous.Invalid, UnicodeDecodeError):
        return False
    with atomic(workspace.lockfile_copy) as file:
        file.write(content)
    return True

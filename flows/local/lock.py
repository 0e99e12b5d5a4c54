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

LOCK = Path(".dvc/tmp/tuition.lock")
RWLOCK = Path(".dvc/tmp/rwlock")
LOCKFILE, COPY = Path("dvc.lock"), Path(".dvc/tmp/tuition.dvc.lock")
_held: set[Path] = set()  # by this process: a flow that runs another one's tasks goes on under its own lock


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the workspace in the current directory for the flow run `name`.

    Raises UserError where the current directory is no workspace, and where another flow holds it, naming that one.
    """
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        raise UserError(f"{Path.cwd()}: no workspace: found no dvc.yaml and .dvc; flows run from the repository's root")
    place = LOCK.absolute()
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
        sign(file, name)
        _held.add(place)
        try:
            mend(Path())
            yield
        finally:
            _held.discard(place)


def sign(file: TextIO, name: str) -> None:
    """Write into the lock, which is held, by whom."""
    file.truncate(0)
    file.write(json.dumps({"flow": name, "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
    file.flush()


def _holder(text: str) -> str:
    try:
        told = json.loads(text)
        return f"the flow {told['flow']!r} works here (process {told['pid']}, since {told['since']})"
    except (ValueError, KeyError):
        return "another flow works here"


def mend(folder: Path) -> None:
    """DVC writes its list of locks, and dvc.lock, in place: a kill in the middle leaves half of them, which no DVC command reads again.

    Of dvc.lock the copy that `keep` made comes back. A stage that it does not know of yet is due again; no call is paid again.
    """
    try:
        json.loads((folder / RWLOCK).read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        (folder / RWLOCK).unlink(missing_ok=True)
    if keep(folder) or not (folder / LOCKFILE).exists():
        return
    os.replace(folder / LOCKFILE, folder / f"{LOCKFILE}.damaged")
    what = "and there is no copy: all stages are due"
    if (folder / COPY).exists():
        shutil.copy2(folder / COPY, folder / LOCKFILE)
        what = f"it is again as it was at {time.strftime('%H:%M:%S on %Y-%m-%d', time.localtime((folder / COPY).stat().st_mtime))}"
    print(f"{LOCKFILE}: DVC was killed while it wrote it; {what}", file=sys.stderr)


def keep(folder: Path = Path()) -> bool:
    """Copy dvc.lock, where it is whole. Whether it was."""
    import voluptuous
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    try:
        content = (folder / LOCKFILE).read_bytes()
        COMPILED_LOCKFILE_SCHEMA(yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, yaml.YAMLError, voluptuous.Invalid, UnicodeDecodeError):
        return False
    with atomic(folder / COPY) as file:
        file.write(content)
    return True

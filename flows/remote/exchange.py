"""`python -m flows.remote.exchange DO FILE`: what a stage that runs on another machine needs of DVC, each time in one process.

check    write to DVC's remote and delete it again
share    push what stages made; tells their entries in dvc.lock
work     in a clone: pull what a stage needs, run it, push what it made; tells its entry
restore  have what a stage made elsewhere, as if it had run here

FILE is a JSON object with what is needed for it; what is told replaces it.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from flows.remote import clones
from tuition.errors import UserError, run
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage
    from dvc_data.hashfile.hash_info import HashInfo

Entry = dict[str, Any]  # of a stage in dvc.lock
POLL = 1.0  # seconds
MADE_OF = ("cmd", "deps", "params")  # what of an entry decides what comes out


def check_remote(given: dict[str, Any]) -> None:
    """Raises UserError where DVC has no remote, or its remote takes no files."""
    from dvc.config import NoRemoteError

    repo = _repo()
    try:
        remote = repo.cloud.get_remote_odb(None, "push")
        probe = remote.fs.join(remote.path, f"tuition-{os.getpid()}")
        remote.fs.makedirs(remote.path, exist_ok=True)
        remote.fs.pipe_file(probe, b"")
        remote.fs.remove(probe)
    except NoRemoteError:
        raise UserError(
            "DVC has no remote, through which machines share what the stages make; "
            "give it one, as by `dvc remote add --default shared s3://bucket/path`"
        ) from None
    except Exception as error:  # of DVC, the system or one of many storage libraries
        name = repo.config["core"].get("remote")
        raise UserError(f"DVC's remote {name!r} takes no files: {error or type(error).__name__}") from None


def push_stages(given: dict[str, Any]) -> dict[str, Entry]:
    """Push what the `stages` made here, and tell their entries."""
    from dvc.repo import lock_repo
    from dvc.stage.serialize import to_single_stage_lockfile

    repo, objects, entries = _repo(), set(), {}
    with lock_repo(repo):
        for name in given["stages"]:
            stage = _stage(repo, name)
            objects |= _objects(stage, metrics=False)
            entries[name] = to_single_stage_lockfile(stage)
    _push(repo, objects)
    return entries


def run_stage(given: dict[str, Any]) -> Entry:
    """Run the stage `name` in one of the `clones`, from the driver's parameters, pipeline and upstream `entries`.

    Raises UserError where the clone's code is not the driver's, and where there is no clone.
    """
    from dvc.cli import main as dvc
    from dvc.repo import lock_repo
    from dvc.stage.serialize import to_single_stage_lockfile
    from dvc.utils.serialize import dump_yaml

    name = given["name"]
    with clones.free_clone(given["clones"], given["driver"]) as clone:
        # The guard ends all processes below it: the clone stays locked until the stage is gone.
        signal.signal(signal.SIGTERM, lambda *_: None)
        _end_with_guard()
        os.chdir(clone)
        clones.check_code(given["code"], given["commit"])
        here = Workspace()
        here.params.write_text(given["params"], encoding="utf-8")
        here.pipeline.write_text(given["pipeline"], encoding="utf-8")
        dump_yaml(str(here.lockfile), {"schema": "2.0", "stages": given["entries"]})
        print(f"{name} in {clones.clone_place()}", flush=True)
        repo = _repo()
        needs = [_stage(repo, one) for one in given["entries"]]
        _pull(repo, {one for stage in needs for one in _objects(stage, metrics=False)})
        with lock_repo(repo):
            for stage in needs:
                _check_out(stage)
        if dvc(["repro", "--single-item", name]):
            sys.exit(1)
        repo = _repo()
        stage = _stage(repo, name)
        entry = to_single_stage_lockfile(stage)
        _push(repo, _objects(stage))
        return {name: entry}


def restore_stage(given: dict[str, Any]) -> None:
    """Put what the stage `name` made elsewhere, by its `entry`, into the workspace, the run-cache and dvc.lock.

    Raises UserError where that was made of other files, parameters or another command than the stage now has here.
    """
    from dvc.repo import lock_repo
    from dvc.stage.loader import StageLoader
    from dvc.stage.serialize import to_single_stage_lockfile

    name, entry, repo = given["name"], given["entry"], _repo()
    with lock_repo(repo):
        stage = _stage(repo, name)
    StageLoader.fill_from_lock(stage, entry)
    _pull(repo, _objects(stage))
    with lock_repo(repo):
        stage = _stage(repo, name)
        stage.save_deps()
        if other := _differences(json.loads(json.dumps(to_single_stage_lockfile(stage))), entry):
            raise UserError(f"{name}: {', '.join(other)} changed here while it ran elsewhere; run the flow again")
        StageLoader.fill_from_lock(stage, entry)
        cached = [out.use_cache for out in stage.outs]
        _objects(stage)
        _check_out(stage)
        repo.stage_cache.save(stage)
        for out, was in zip(stage.outs, cached, strict=True):
            out.use_cache = was
        stage.dump(update_pipeline=False)
    print(f"{name} is restored from DVC's remote", flush=True)


def _end_with_guard() -> None:
    """Ray kills a worker's children, and so the guard, by kill −9: then this process ends the stage."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with the guard").start()


def _repo() -> "Repo":
    from dvc.repo import Repo

    return Repo(_wait_for_lock=True)


def _stage(repo: "Repo", name: str) -> "Stage":
    (stage,) = repo.stage.collect(name)
    return stage


def _objects(stage: "Stage", metrics: bool = True) -> set["HashInfo"]:
    """What the stage made, in DVC's cache; with metrics and plots, which DVC keeps there for its run-cache.

    These count as cached outs of `stage` from then on.
    """
    for out in stage.outs if metrics else []:
        out.use_cache = True
    return {one for found in stage.get_used_objs().values() for one in found}


def _push(repo: "Repo", objects: Iterable["HashInfo"]) -> None:
    if failed := repo.cloud.push(objects).failed:
        sys.exit(f"error: {len(failed)} files could not be sent to DVC's remote")


def _pull(repo: "Repo", objects: Iterable["HashInfo"]) -> None:
    if failed := repo.cloud.pull(objects).failed:
        sys.exit(f"error: {len(failed)} files could not be taken from DVC's remote")


def _check_out(stage: "Stage") -> None:
    if failed := stage.checkout(force=True).get("failed"):
        sys.exit(f"error: {', '.join(failed)}: not whole in DVC's remote")


def _differences(here: Entry, there: Entry) -> list[str]:
    """The names of what differs in what two entries were made of: parts, or files and parameters within."""
    found = []
    for part in MADE_OF:
        one, other = (_flat(entry.get(part)) for entry in (here, there))
        found += [key or part for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    return found


def _flat(part: object) -> dict[str, Any]:
    if isinstance(part, list):  # of deps
        return {one["path"]: one.get("md5") for one in part}
    if isinstance(part, dict):  # of params, by file
        return {key: value for values in part.values() for key, value in values.items()}
    return {"": part}


ACTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "check": check_remote,
    "share": push_stages,
    "work": run_stage,
    "restore": restore_stage,
}


def main(argv: list[str]) -> None:
    from dvc.exceptions import DvcException

    what, path = argv[0], Path(argv[1]).absolute()
    try:
        answer = ACTIONS[what](json.loads(path.read_text()))
    except DvcException as error:  # such as a remote that went away, which the next attempt may find
        sys.exit(f"error: DVC: {error}")
    path.write_text(json.dumps(answer))


if __name__ == "__main__":
    run(main)

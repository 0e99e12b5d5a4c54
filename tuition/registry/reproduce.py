"""A registered student trained again from what the registry keeps: the same code, parameters and inputs, compared to the bit.

No teacher is asked and no ledger is opened: what was bought comes out of DVC's cache or remote. The commands that are run are those of
the recorded dvc.yaml: as with a model itself, whoever may write to the registry says what is run here.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuition.errors import UserError
from tuition.files import file_digest, read_json
from tuition.methods import module_name
from tuition.registry.code import copy_present, extract_commit
from tuition.registry.evidence import fetch_artifacts
from tuition.registry.provenance import made_with
from tuition.tracking.lineage import NO_GIT
from tuition.tracking.store import Store
from tuition.workspace import Comparisons, Model, Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

OVERLAID = tuple(path.name for path in (Workspace().params, Workspace().lockfile, Workspace().pipeline))  # of lineage/


def reproduce_student(
    store: Store, version: "ModelVersion", folder: Path | None, say: Callable[[str], object]
) -> dict[str, Any]:
    """Train the student of `version` again in `folder` (or a temporary one); `say` is given each line of progress.

    Returns {"equal", "recorded", "reproduced" (sha256 of weights.safetensors), "code", "largest_difference", "says", …}.
    Raises UserError where the registry keeps too little, DVC has not what it needs, or the training fails.
    """
    cell, recorded = version.tags.get("cell"), version.tags.get("weights_sha256")
    with _place(folder) as work, tempfile.TemporaryDirectory() as scratch:
        kept = fetch_artifacts(store, version, "lineage", Path(scratch, "kept"))
        if not (cell and recorded and kept) or not all((kept / name).is_file() for name in OVERLAID):
            raise UserError(
                f"version {version.version} of {version.name!r} keeps no lineage/{{{','.join(OVERLAID)}}}, without which it can't be "
                "reproduced; registered while its files are there (`python -m stages.register`), it will"
            )
        stage, device = f"train@{cell}", _device(store, version)
        environment = _environment(work, device)
        code = _restore(work, kept, stage, version.tags, environment, say)
        say(f"training {cell} again in {work}")
        options = ["--force", "--single-item", "--no-run-cache", "--no-commit"]
        if status := _run([*_dvc(), "repro", *options, stage], work, environment, say):
            raise UserError(f"dvc repro {stage} in {work}: exit status {status}; what it said is above")
        weights = Workspace(work).student(cell).weights
        reproduced = file_digest(weights)
        if reproduced is None:
            raise UserError(f"{weights}: the training has not written it")
        equal = reproduced == recorded
        difference = 0.0 if equal else _difference(store, version, weights, Path(scratch, "recorded"))
    return {
        "name": version.name,
        "version": str(version.version),
        "cell": cell,
        "equal": equal,
        "recorded": recorded,
        "reproduced": reproduced,
        "code": code,
        "largest_difference": difference,
        "device": device,
        "says": _says(equal, difference, device, version.tags),
    }


def _says(equal: bool, difference: float | None, device: str, tags: dict[str, str]) -> str:
    if equal:
        return "equal: the same weights, bit for bit"
    apart = "" if difference is None else f", by at most {difference:.3g} in a weight"
    where = "" if device == "cpu" else f" It was trained on {device}, where trainings repeat only nearly."
    made = f" Made with {tags['made_with']}; here {made_with()}." if "made_with" in tags else ""
    return f"NOT equal: the weights differ{apart}.{where}{made} Another CPU or number of threads (OMP_NUM_THREADS) rounds otherwise."


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="tuition-reproduce-") as made:
            yield Path(made)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"--folder {folder}: there is something already; valid: an empty folder, or one that is not there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    yield folder.resolve()


def _restore(
    work: Path, kept: Path, stage: str, tags: dict[str, str], environment: dict[str, str], say: Callable[[str], object]
) -> str:
    """Put code, recorded parameters and the stage's inputs into `work`; returns which code it is, in words.

    The commit's code, where it is what the student was trained with (dvc.lock has the hash of every file that it depends on);
    otherwise the code that lies here, where that is; otherwise the commit's, with a warning.
    """
    commit, changed = tags.get("git_commit"), []
    sources: list[tuple[str, Callable[[Path], bool]]] = [("the code that lies here", copy_present)]
    if commit:
        sources.insert(0, (f"commit {commit}", lambda to: extract_commit(commit, to, say)))
    for turn, (words, put) in enumerate([*sources, sources[0]]):
        if not put(work):
            say(f"{words} is not in this repository (`git fetch` brings what a remote has)")
            continue
        for name in OVERLAID:
            (work / name).write_bytes((kept / name).read_bytes())
        if not (work / ".dvc/config.local").exists():
            _share_cache(work)
        inputs = _inputs(Workspace(work).lockfile, stage)
        if not all((work / path).exists() for path in inputs):
            _get(inputs, work, environment, say)
        changed = _changed(stage, work, environment)
        if not changed:
            say(f"code: {words}, and every file that {stage} depends on is the recorded one")
            return words
        if turn == len(sources):
            break
    else:
        raise UserError(
            f"commit {commit}, which made this student, is not in this repository, and the code that lies here is other"
        )
    say(
        f"warning: not the code that made this student: {', '.join(changed)} had changes that were not committed; using {words}"
    )
    return f"{words}, without uncommitted changes of {', '.join(changed)}"


def _share_cache(work: Path) -> None:
    """Make `work` a DVC workspace of its own, without git, with the cache and the remotes of the present one."""
    from configobj import ConfigObj
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        repo = Repo()
    except NotDvcRepoError:
        raise UserError(f"{Path.cwd()}: no DVC workspace; run this where the study's repository is") from None
    except SCMError:
        raise UserError(f"{Path.cwd()}: {NO_GIT}") from None
    with repo:
        config = repo.config
        local: dict[str, Any] = {"core": {"no_scm": "true", "analytics": "false", "check_update": "false"}}
        if default := config["core"].get("remote"):
            local["core"]["remote"] = default
        local["cache"] = {"dir": repo.cache.local_cache_dir}
        if types := config["cache"].get("type"):
            local["cache"]["type"] = ",".join(types) if isinstance(types, list) else str(types)
        for name, settings in config["remote"].items():
            local[f'remote "{name}"'] = {key: str(value) for key, value in settings.items()}
    (work / ".dvc").mkdir(exist_ok=True)
    if not (work / ".dvc/config").exists():
        (work / ".dvc/config").touch()
    path = work / ".dvc/config.local"
    path.touch(mode=0o600)  # remotes may have passwords
    written = ConfigObj(local, write_empty_values=True)
    written.filename = str(path)
    written.write()


def _needed(stages: dict[str, Any], stage: str) -> list[str]:
    """The paths that `stage` depends on, by what dvc.lock says of its `stages`."""
    if stage not in stages:
        raise UserError(
            f"lineage/dvc.lock has no {stage}: this student was not made by `dvc repro`, so nothing says what of"
        )
    return [dep["path"] for dep in stages[stage].get("deps", [])]


def _inputs(lock: Path, stage: str) -> list[str]:
    """The outputs of other stages that `stage` depends on, or on a part of; and the estimates, through its comparisons."""
    stages, drawn = _stages(lock), f"compare@{stage.removeprefix('train@').split('-')[0]}"
    needed = _needed(stages, stage) + (_needed(stages, drawn) if drawn in stages else [])
    outs = [out["path"] for name, one in stages.items() if name != stage for out in one.get("outs", [])]
    return sorted({out for out in outs for path in needed if path == out or path.startswith(f"{out}/")})


def _stages(lock: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(lock.read_text())["stages"]


def _get(inputs: list[str], work: Path, environment: dict[str, str], say: Callable[[str], object]) -> None:
    """Restore from the cache what is there, and from a remote what is not."""
    lines: list[str] = []
    if _run([*_dvc(), "checkout", *inputs], work, environment, lines.append) == 0:
        say(f"inputs from DVC's cache: {', '.join(inputs)}")
        return
    lines.clear()
    say(f"DVC's cache lacks some of {', '.join(inputs)}; pulling")
    if _run([*_dvc(), "pull", *inputs], work, environment, lines.append):
        why = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "")
        raise UserError(f"neither DVC's cache nor a remote has all of {', '.join(inputs)} ({why})")


def _changed(stage: str, work: Path, environment: dict[str, str]) -> list[str]:
    """The dependencies of `stage` in `work`, and the method's file, that are not as recorded."""
    done = subprocess.run(
        [*_dvc(), "status", "--json", stage], cwd=work, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"dvc status {stage} in {work}: {done.stderr.strip()}")
    entries = [entry for entry in json.loads(done.stdout).get(stage, []) if isinstance(entry, dict)]
    changed = {path for entry in entries for path in entry.get("changed deps", {})}
    for path in _needed(_stages(Workspace(work).lockfile), stage):
        meta = Comparisons(work / path).meta
        about = read_json(meta) if meta.is_file() else {}
        if {"method", "code"} <= about.keys():  # comparisons/: through it a cell depends on its own method's file
            file = about.get("file", f"tuition/methods/{module_name(about['method'])}.py")  # or the user's own
            if file_digest(work / file) != about["code"]:
                changed.add(file)
    return sorted(changed)


def _dvc() -> list[str]:
    return [sys.executable, "-m", "dvc"]


def _environment(work: Path, device: str) -> dict[str, str]:
    """No ledger, no MLflow store but its own, and no GPU where the student was trained without one."""
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{Workspace(work).mlflow_database}",
        "TUITION_LEDGER": str(work / "no-ledger.db"),
        "DVC_NO_ANALYTICS": "true",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **own, **({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})}


def _device(store: Store, version: "ModelVersion") -> str:
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_run(version.run_id or "").data.tags.get("speed.device", "cpu")
    except MlflowException:
        return "cpu"


def _run(command: list[str], cwd: Path, environment: dict[str, str], line: Callable[[str], object]) -> int:
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if text.strip():
                line(text.rstrip())
    return process.returncode


def _difference(store: Store, version: "ModelVersion", weights: Path, into: Path) -> float | None:
    """The largest absolute difference of a weight to the recorded ones; None where these were not kept or have other shapes."""
    from safetensors.numpy import load_file

    kept = fetch_artifacts(store, version, "student", into)
    if kept is None or not Model(kept).weights.is_file():
        return None
    reproduced, recorded = load_file(weights), load_file(Model(kept).weights)
    if {key: value.shape for key, value in reproduced.items()} != {key: value.shape for key, value in recorded.items()}:
        return None
    return max(float(np.abs(reproduced[key].astype(np.float64) - recorded[key]).max(initial=0.0)) for key in reproduced)

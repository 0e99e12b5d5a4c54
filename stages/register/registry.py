"""The model registry: versions with their lineage, and the aliases `challenger` and `champion`."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stages.arrays import read_array
from stages.register.promote import Verdict, compare
from stages.tracking.store import Store

LOGITS = "test/logits.npy"  # of a registered student, in its run: what a later challenger is compared with


def find_version(store: Store, name: str, weights: str) -> Any | None:
    """The version that holds the student with these weights (sha256), if there is one: the newest."""
    versions = store.client.search_model_versions(f"name = '{name}'")
    found = [version for version in versions if version.tags.get("weights_sha256") == weights]
    return max(found, key=lambda version: int(version.version), default=None)


def add_version(store: Store, name: str, run: str, cell: str, tags: dict[str, str], test: Path) -> Any:
    """Log a cell's student in its run, and make it a version of the registered model `name`.

    `test` is data/test, some of whose images become the input example.
    """
    import mlflow

    from stages.register.model import EXAMPLES, log_student

    store.client.log_artifact(run, str(Path("results", cell, "logits.npy")), str(Path(LOGITS).parent))
    mlflow.set_tracking_uri(store.uri)
    with mlflow.start_run(run_id=run, log_system_metrics=False):
        uri = log_student(Path("students", cell), read_array(test / "images.npy")[:EXAMPLES])
    return mlflow.register_model(uri, name, await_registration_for=0, tags=tags)


def champion_of(store: Store, name: str) -> Any | None:
    """The version with the alias `champion`, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_model_version_by_alias(name, "champion")
    except MlflowException as error:
        # no such model, or no such alias
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def decide(store: Store, champion: Any | None, version: Any, cell: str, test_digest: str, alpha: float) -> Verdict:
    """Whether `version`, the student of `cell`, becomes champion, and why."""
    if champion is None:
        return Verdict(True, "the first: there was no champion")
    if str(champion.version) == str(version.version):
        return Verdict(True, "it is the champion already")
    if champion.tags.get("test_digest") != test_digest:
        return Verdict(
            False, f"version {champion.version}, the champion, was tested on other samples: set the alias by hand"
        )
    theirs = _logits(store, champion)
    if theirs is None:
        return Verdict(
            False, f"version {champion.version}, the champion, has no test logits left: set the alias by hand"
        )
    ours = read_array(Path("results", cell, "logits.npy"))
    labels = read_array(Path("data/test/labels.npy"))
    return compare(ours, theirs, labels, alpha)


def _logits(store: Store, version: Any) -> np.ndarray | None:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        try:
            return np.load(store.client.download_artifacts(version.run_id, LOGITS, scratch), allow_pickle=False)
        except (MlflowException, OSError, ValueError):  # its run or its files were deleted
            return None

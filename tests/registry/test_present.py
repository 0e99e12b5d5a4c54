"""`tuition study` speaks of a registered version: where the store has none, as after `dvc exp apply`, it says so and what to do."""

import shutil
from pathlib import Path

from support import templates
from support.small_study import run_python

from tuition.files import read_json
from tuition.registry.present import why_missing
from tuition.workspace import Workspace


def test_a_version_that_the_store_lacks_is_told_and_can_be_registered_here(workspace: Path) -> None:
    here, registered = Workspace(), read_json(workspace / "report/registered.json")
    assert why_missing(here, registered) == ""
    (workspace / "mlflow.db").unlink()
    shutil.rmtree(workspace / "mlruns")
    assert why_missing(here, registered).startswith("there is no mlflow.db: the study's files came from elsewhere")
    templates.mlflow_database(workspace / "mlflow.db")
    assert "mlflow.db has no such version: " in why_missing(here, registered)
    done = run_python("-m", "stages.register", cwd=workspace, MLFLOW_TRACKING_URI="")
    assert done.wait(300) == 0, done.communicate()[0]
    assert why_missing(here, read_json(workspace / "report/registered.json")) == ""


def test_a_server_is_believed(workspace: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert why_missing(Workspace(), read_json(workspace / "report/registered.json")) == ""

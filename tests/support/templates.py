"""Databases of MLflow and Prefect with all their migrations applied: made once a test run, copied where a test needs a fresh one.

MLflow applies some sixty migrations to a new database and Prefect some hundred: four and five seconds of processor time each.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "TUITION_TEST_TEMPLATES"  # names the folder that all processes of a test run share


def begin() -> None:
    """Called once, by the process that begins the run: its workers inherit the folder."""
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="tuition-templates-")


def end() -> None:
    """Remove what this test run made."""
    shutil.rmtree(os.environ.pop(VARIABLE), ignore_errors=True)


def mlflow_database(into: Path) -> None:
    """Put an empty MLflow database at `into`."""
    shutil.copyfile(_made("mlflow.db", _make_mlflow), into)


def prefect_home(into: Path) -> None:
    """Put an empty Prefect database into the folder `into`, which is to be PREFECT_HOME."""
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_made("prefect.db", _make_prefect), into / "prefect.db")


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """The template `name`; the first of a run's processes that asks makes it, the others wait."""
    folder = Path(os.environ[VARIABLE])
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            scratch = folder / f"{name}.making"
            scratch.mkdir()
            make(scratch / name)
            (scratch / name).rename(folder / name)
    return folder / name


def _make_mlflow(path: Path) -> None:
    from mlflow import MlflowClient

    from tuition.tracking import store

    store._create(path)
    assert MlflowClient(f"sqlite:///{path}").search_experiments()


def _make_prefect(path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(path.parent), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    assert path.exists()

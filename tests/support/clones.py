"""A clone of the repository in which commands are run as a user types them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT, copy_code, fork_server, templates
from tuition import forkserver


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the repository, nothing run yet; MLflow's empty database spares it the making of one."""
    copy_code(tmp_path, "tuition", "stages")
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvc/config", ".gitignore", ".dvcignore", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "clone"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    templates.mlflow_database(tmp_path / "mlflow.db")
    return tmp_path


def run(folder: Path, command: list[str]) -> str:
    """Run a command as a user types it; what it prints."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        forkserver.VARIABLE: fork_server(),
    }
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    return ran.stdout + ran.stderr

"""Registering is tested on the same small study as tracking."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose best student was registered by the command, in a database that did not exist."""
    from support.registry import write_figures
    from support.small_study import make_study, run_python, write_cell

    root = tmp_path_factory.mktemp("registered")
    make_study(root, methods=("ce", "kd"))
    write_cell(root, 100, "ce", 0, steps=2)
    write_cell(root, 100, "kd", 0, steps=20)
    for cell in ("100-ce-0", "100-kd-0"):
        write_figures(root, cell)
    done = run_python("-m", "stages.register", cwd=root, MLFLOW_TRACKING_URI="")
    assert done.wait(300) == 0, done.communicate()[0]
    return root


@pytest.fixture
def workspace(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to go on in."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    shutil.copytree(registered, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"

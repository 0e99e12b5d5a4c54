from pathlib import Path

import pytest
from support import templates


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with an empty MLflow database."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # also takes back what MLflow sets there
    monkeypatch.chdir(tmp_path)
    templates.mlflow_database(tmp_path / "mlflow.db")
    return tmp_path

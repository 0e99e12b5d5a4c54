from pathlib import Path

import pytest

from tuition.tracking import store


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's sixty migrations, once."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("fresh")
    store._create(folder / "mlflow.db")
    assert MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with an empty MLflow database."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # also takes back what MLflow sets there
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(fresh_database.read_bytes())
    return tmp_path

from pathlib import Path

import pytest
from support import templates
from support.small_study import content, make_study, run_python, write_cell

from tuition.errors import UserError
from tuition.tracking import address, lineage, store


def test_importing_tracking_imports_no_mlflow_and_no_torch(tmp_path: Path) -> None:
    code = "import sys, tuition.tracking; sys.exit(any(name in sys.modules for name in ('mlflow', 'torch', 'pandas')))"
    assert run_python("-c", code, cwd=tmp_path).wait() == 0


def test_two_processes_make_one_database_and_one_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path, methods=("ce",))
    write_cell(tmp_path, 100, "ce", 0, steps=2)
    code = "from tuition import params; from tuition.tracking import reconcile; print(reconcile(params.load()))"
    both = [run_python("-c", code, cwd=tmp_path, MLFLOW_TRACKING_URI="") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    opened = store.connect_store("tuition-mnist5k")
    assert len(store.search_runs(opened, "")) == 2  # the study and its cell
    assert not list(tmp_path.glob("mlflow.db.new*"))


def test_a_long_curve_is_written_whole(workspace: Path) -> None:
    opened = store.connect_store("x")
    run = opened.client.create_run(opened.experiment).info.run_id
    points = {("curve/loss", step): step / 7 for step in range(2100)}
    store.log_values(opened.client, run, points, {f"p{n}": str(n) for n in range(150)}, {"done": "yes"})
    history = opened.client.get_metric_history(run, "curve/loss")
    assert {("curve/loss", point.step): point.value for point in history} == points
    assert len(opened.client.get_run(run).data.params) == 150


def test_a_database_elsewhere_keeps_its_artifacts_beside_it(workspace: Path, tmp_path_factory, monkeypatch) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (workspace / "mlflow.db").rename(elsewhere / "runs.db")
    before = content(elsewhere / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/runs.db")
    opened = store.connect_store("x y")
    assert opened.client.get_experiment(opened.experiment).artifact_location == f"{elsewhere}/mlruns/x%20y"
    assert content(elsewhere / "runs.db") != before
    assert store.connect_store("x y").experiment == opened.experiment


def test_a_dvc_lock_that_is_half_written_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    assert lineage.dvc_hashes(path) == {}
    path.write_text("stages:\n  prepare:\n    outs:\n    - {path: data, hash: md5, md5: 1f.dir}\n    - {path: sp")
    assert lineage.dvc_hashes(path) == {}
    path.write_text("stages:\n  prepare:\n    outs:\n    - {path: data, hash: md5, md5: 1f.dir}\n    - {path: x}\n")
    assert lineage.dvc_hashes(path) == {"data": "1f.dir"}


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert lineage.git_tags() == {}


def test_looking_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(tmp_path)
    assert address.store_missing()
    with pytest.raises(UserError, match=r"no MLflow store at sqlite:///mlflow\.db"):
        store.connect_store("study", create=False)
    assert not list(tmp_path.iterdir())
    templates.mlflow_database(tmp_path / "mlflow.db")
    assert not address.store_missing()
    opened = store.connect_store("study", create=False)
    assert opened.experiment == ""
    assert opened.client.get_experiment_by_name("study") is None
    made = store.connect_store("study").experiment
    assert store.connect_store("study", create=False).experiment == made


def test_an_address_is_shown_without_its_password() -> None:
    assert store.Store(None, "", "https://me:secret@host:5000/x").shown == "https://host:5000/x"
    assert store.Store(None, "", "postgresql://me:s@host/db").shown == "postgresql://host/db"
    assert store.Store(None, "", "sqlite:////tmp/a@b/mlflow.db").shown == "sqlite:////tmp/a@b/mlflow.db"

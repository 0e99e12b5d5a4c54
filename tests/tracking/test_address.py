"""The store is looked at before anything is paid, without MLflow; and its files lie in the workspace, whatever its path."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import templates
from support.small_study import run_python

from tuition.errors import Unreachable, UserError
from tuition.registry.check import check_registered_name
from tuition.tracking import address, store
from tuition.tracking.address import check_store


def test_the_store_of_the_installed_mlflow_passes(workspace: Path) -> None:
    check_store()
    assert address.newest_tables() is not None
    (workspace / "mlflow.db").unlink()
    check_store()
    assert not list(workspace.iterdir())


def test_looking_imports_no_mlflow_and_no_torch(tmp_path: Path) -> None:
    code = "import sys; from tuition.tracking import check_store; check_store(); "
    code += "sys.exit(any(name in sys.modules for name in ('mlflow', 'torch', 'pandas')))"
    templates.mlflow_database(tmp_path / "mlflow.db")
    assert run_python("-c", code, cwd=tmp_path, MLFLOW_TRACKING_URI="").wait() == 0


def _other_version(path: Path) -> None:
    templates.mlflow_database(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0123456789ab'")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("./mlruns", r"found './mlruns', a folder; MLflow .* keeps runs in folders no more; valid: a database such as"),
        ("file:///tmp/mlruns", "a folder"),
        (
            "sqlite:///other.db",
            "made by another MLflow: its tables are of version 0123456789ab, those of .*mlflow db upgrade",
        ),
        ("sqlite:///text.db", "is no SQLite database"),
        ("sqlite:///folder", "is no file"),
        ("sqlite:///text.db/below.db", "is no folder that you may write to"),
        ("sqlite:///a?b/mlflow.db", "MLflow cannot open|no database's address can hold a `\\?`"),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/x", "postgresql.psycopg://127.0.0.1:9/x: "),
        ("oracle://me:secret@host/x", "MLflow has no store for oracle://…; valid"),
        ("http://127.0.0.1:9", "no server answers"),
    ],
)
def test_what_mlflow_cannot_open_is_said_before_anything_is_paid(workspace, monkeypatch, uri, said) -> None:
    _other_version(workspace / "other.db")
    (workspace / "text.db").write_text("no database, but a text that is long enough to be read as one")
    (workspace / "folder").mkdir()
    if uri == "sqlite:///a?b/mlflow.db":
        (workspace / "a?b").mkdir()
        monkeypatch.chdir(workspace / "a?b")
        uri = ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for look in (check_store, lambda: check_registered_name("x"), lambda: store.connect_store("x")):
        with pytest.raises(UserError, match=said) as error:
            look()
        assert "secret" not in str(error.value)
        assert isinstance(error.value, Unreachable) == ("127.0.0.1" in uri)


def test_what_mlflow_alone_knows_to_be_wrong_is_told_as_ours(workspace) -> None:
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection, connection:
        connection.execute("DROP TABLE experiments")
    check_store()
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI: MLflow cannot open sqlite:///mlflow.db: "):
        store.connect_store("x")


@pytest.mark.parametrize("name", ["job%2Fx", "a#b", "ä 1"])
def test_artifacts_lie_in_the_workspace_and_move_with_it(workspace, tmp_path_factory, monkeypatch, name) -> None:
    above = tmp_path_factory.mktemp("above")
    here, moved = above / name, above / "other%41"
    shutil.copytree(workspace, here)
    monkeypatch.chdir(here)
    opened = store.connect_store("x y")
    run = opened.client.create_run(opened.experiment).info.run_id
    Path("a.txt").write_text("kept")
    opened.client.log_artifact(run, "a.txt", "kept")
    assert [one.name for one in above.iterdir()] == [name]
    assert len(list(here.glob("mlruns/x y/*/artifacts/kept/a.txt"))) == 1
    shutil.move(here, moved)
    monkeypatch.chdir(moved)
    code = f"""
from tuition.tracking import store
client = store.connect_store("x y").client
print(open(client.download_artifacts({run!r}, "kept/a.txt")).read())
client.log_artifact({run!r}, "a.txt", "later")
"""  # another process: MLflow remembers where a run's artifacts lie
    after = run_python("-c", code, cwd=moved, MLFLOW_TRACKING_URI="")
    said = after.communicate(timeout=120)[0]
    assert after.returncode == 0, said
    assert "kept" in said
    assert [one.name for one in above.iterdir()] == [moved.name]
    assert len(list(moved.glob("mlruns/x y/*/artifacts/later/a.txt"))) == 1

"""The flow over a real git and DVC workspace, with its own Prefect home."""

import json
import os
import subprocess
import sys

import pytest
from support import ROOT, bill
from support.workspaces import DVC, distill, make_workspace, prefect_server

from flows.run import artifact, pipeline
from tuition.errors import UserError

ARTIFACT = """
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.request("GET", "/artifacts/{key}/latest", path_params={"key": "study"}).json()["data"])
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory, prepared):
    """A workspace, and an environment that names a Prefect server started once for all its runs."""
    folder = tmp_path_factory.mktemp("study")
    environment = make_workspace(folder, prepared)
    with prefect_server(folder, environment) as url:
        yield folder, {**environment, "PREFECT_API_URL": url}


@pytest.fixture(scope="module")
def broken(study):
    """A study whose `kd` breaks as soon as it trains, run once."""
    folder, environment = study
    method = folder / "tuition/methods/kd.py"
    sound = method.read_text()
    method.write_text(
        sound.replace("def forward(", "def forward(self, *_):\n        raise RuntimeError('chalk')\n\n    def was(")
    )
    done = distill(folder, environment, "--parallel", "2", "-S", "flows.retries=0")
    trained = sorted(path.name for path in (folder / "results").iterdir()), (folder / "report").exists()
    method.write_text(sound)
    return folder, environment, done, trained


@pytest.fixture(scope="module")
def mended(broken):
    """The same study with `kd` mended, run to its end."""
    folder, environment, _, _ = broken
    return folder, environment, distill(folder, environment)


def test_the_server_of_prefect_can_be_imported():
    """Newer fastapi releases break it, and nothing else notices."""
    code = "import prefect.server.api.server as server; assert server.create_app"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_telemetry_is_off_and_the_settings_are_read():
    code = (
        "import flows, prefect.settings as s, prefect._internal.analytics as a; now = s.get_current_settings().server;"
        "print(now.analytics_enabled, now.ephemeral.startup_timeout_seconds, a.is_telemetry_enabled())"
    )
    names = ("PREFECT_", "DO_NOT_TRACK", "CI")
    bare = {key: value for key, value in os.environ.items() if not key.startswith(names)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=bare, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "120", "False"], done.stderr


def test_the_order_is_read_from_dvc():
    dot = ["strict digraph {", '"prepare";', '"train@40-ckd-mse-0";', '"prepare" -> "train@40-ckd-mse-0";', "}"]
    assert pipeline.parse_graph(dot) == {"prepare": set(), "train@40-ckd-mse-0": {"prepare"}}


def test_a_cell_is_one_task_and_every_other_stage_its_own():
    upstream = {
        "teach@4": set(),
        "train@4-kd-0": {"teach@4"},
        "evaluate@4-kd-0": {"teach@4", "train@4-kd-0"},
        "evaluate@4-ce-0": set(),
        "report": {"evaluate@4-kd-0", "evaluate@4-ce-0"},
    }
    stages, needs = pipeline.group_tasks(upstream)
    assert stages == {
        "teach@4": ["teach@4"],
        "cell 4-kd-0": ["train@4-kd-0", "evaluate@4-kd-0"],
        "cell 4-ce-0": ["evaluate@4-ce-0"],
        "report": ["report"],
    }
    assert needs == {
        "teach@4": set(),
        "cell 4-kd-0": {"teach@4"},
        "cell 4-ce-0": set(),
        "report": {"cell 4-kd-0", "cell 4-ce-0"},
    }


def test_the_artifact_is_the_table_the_picture_and_the_spend(tmp_path, monkeypatch):
    results = "## Results\n\n| a |\n\n![p](p.svg)\n\n"
    report = f"# What 4 calls bought\n\n- **Data**\n\n{results}## Calls needed\n\nmany\n\n## What was spent\n\n| b |\n"
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.md").write_text(report)
    (tmp_path / "report/accuracy.png").write_bytes(b"PNG")
    monkeypatch.chdir(tmp_path)
    sections = "# What 4 calls bought\n\n## Results\n\n| a |\n\n\n## What was spent\n\n| b |\n"
    assert artifact.terminal_text(artifact.study_artifact()) == sections + "\n"
    assert artifact.study_artifact() == f"{sections}\n![Accuracy against teacher calls](data:image/png;base64,UE5H)\n"


@pytest.mark.parametrize(
    ("uri", "linked"), [("http://mlflow:5000", True), ("http://me:secret@mlflow", False), ("", False)]
)
def test_links_lead_to_a_server_and_never_show_a_password(tmp_path, monkeypatch, uri, linked):
    told = {
        "name": "digits",
        "version": "3",
        "reason": "challenger: not better",
        "study_run_id": "ab",
        "experiment_id": "1",
    }
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.md").write_text("# Study\n")
    (tmp_path / "report/registered.json").write_text(json.dumps(told))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    text = artifact.study_artifact()
    assert "digits version 3" in text
    assert "secret" not in text
    for link in ("http://mlflow:5000/#/models/digits/versions/3", "http://mlflow:5000/#/experiments/1/runs/ab"):
        assert (link in text) == linked


def test_only_some_cells_and_what_they_need():
    upstream = {
        "prepare": set(),
        "train@4-kd-0": {"prepare"},
        "evaluate@4-kd-0": {"train@4-kd-0"},
        "evaluate@4-ce-0": {"prepare"},
        "report": {"evaluate@4-kd-0"},
    }
    assert list(pipeline.select_cells(upstream, ["4-kd-0"])) == ["prepare", "train@4-kd-0", "evaluate@4-kd-0"]
    with pytest.raises(UserError, match=r"cells: 4-kd-1: not in the study\. Valid: 4-ce-0, 4-kd-0"):
        pipeline.select_cells(upstream, ["4-kd-1"])


def test_a_bad_override_is_refused_before_anything_runs(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared, databases=False)
    before = (tmp_path / "params.yaml").read_text()
    done = distill(tmp_path, environment, "-S", "train.stepps=3")
    assert done.returncode == 2
    assert "train.stepps: no such parameter. Did you mean 'steps'? Valid: " in done.stderr
    assert (tmp_path / "params.yaml").read_text() == before
    assert not (tmp_path / ".prefect-home/prefect.db").exists()


@pytest.mark.slow
def test_a_failing_cell_is_reported_and_the_others_run(broken):
    _, _, done, (results, reported) = broken
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: 1 of 12 tasks failed: cell 40-kd-0" in done.stderr
    story = done.stdout[done.stdout.index("# The study is not complete") :]
    assert "## cell 40-kd-0 failed" in story
    assert "RuntimeError: chalk" in story
    assert "Not run, because they need what failed: report, register." in story
    assert results == ["40-ce-0"]
    assert not reported


@pytest.mark.slow
def test_the_whole_study_runs_and_is_paid_once(mended):
    folder, environment, done = mended
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "report/registered.json").exists()
    assert len(bill(folder)) == 40
    status = subprocess.run([*DVC, "status", "--json"], cwd=folder, env=environment, capture_output=True, text=True)
    assert json.loads(status.stdout) == {}
    again = subprocess.run([*DVC, "repro"], cwd=folder, env=environment, capture_output=True, text=True)
    assert "Running stage" not in again.stdout
    assert "Data and pipelines are up to date" in again.stdout


@pytest.mark.slow
def test_the_artifact_holds_the_table_and_the_spend(mended):
    folder, environment, _ = mended
    found = subprocess.run(
        [sys.executable, "-c", ARTIFACT], cwd=folder, env=environment, capture_output=True, text=True
    ).stdout
    for line in (
        "# What 40 calls bought",
        "| 40 | `ce` | few | 1 |",
        "| 40 | `kd` | few | 1 |",
        "| 40 | 40 | 0.40 | 40 |",
    ):
        assert line in found


@pytest.mark.slow
def test_a_second_run_starts_no_stage(mended):
    folder, environment, _ = mended
    done = distill(folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 stages are up to date, 0 of them were due" in done.stderr
    assert "Running stage" not in done.stderr

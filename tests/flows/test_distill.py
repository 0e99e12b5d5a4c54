"""The flow over a real git and DVC workspace, with its own Prefect home."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from support import COUNTING_TEACHER, PAID, ROOT, bill, write_params

from flows.distill import _study, _upstream

DVC = [sys.executable, "-m", "dvc"]
QUICK = {
    **PAID, "data.source": "npz:digits.npz", "study.methods": ["ce", "kd"], "train.steps": 4, "train.validate_every": 2,
    "evaluate.batch_size": 100,
}  # fmt: skip
ARTIFACT = """
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.request("GET", "/artifacts/{key}/latest", path_params={"key": "study"}).json()["data"])
"""


def make_workspace(folder: Path, prepared: Path) -> dict[str, str]:
    """A repository of its own with the stages, the flows and a quick study; returns the environment to run in."""
    for name in ("stages", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "prefect.toml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    shutil.copy(prepared / "digits.npz", folder)
    (folder / "paid.py").write_text(COUNTING_TEACHER)
    write_params(folder, QUICK)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    return {
        **inherited, "PREFECT_HOME": str(folder / ".prefect-home"), "TUITION_LEDGER": str(folder / "ledger.db"),
        "XDG_DATA_HOME": str(folder / "share"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip


def distill(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "flows.distill", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def study(tmp_path_factory, prepared):
    """A workspace, and an environment that names a Prefect server started once for all its runs."""
    folder = tmp_path_factory.mktemp("study")
    environment = make_workspace(folder, prepared)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)]
    with (folder / "server.txt").open("w") as out:
        server = psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait_for_server(server, f"http://127.0.0.1:{port}/api/health", folder / "server.txt")
        yield folder, {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        if server.poll() is None:
            children = server.children(recursive=True)
            server.terminate()
            _, alive = psutil.wait_procs([server, *children], timeout=10)
            for process in alive:
                process.kill()


def _wait_for_server(server: psutil.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"Prefect's server does not answer: {log.read_text()}")


@pytest.fixture(scope="module")
def broken(study):
    """A study whose `kd` breaks as soon as it trains, run once."""
    folder, environment = study
    method = folder / "stages/train/methods/kd.py"
    sound = method.read_text()
    method.write_text(
        sound.replace("def forward(", "def forward(self, *_):\n        raise RuntimeError('chalk')\n\n    def was(")
    )
    done = distill(folder, environment, "--parallel", "2")
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
    assert _upstream(dot) == {"prepare": set(), "train@40-ckd-mse-0": {"prepare"}}


def test_the_artifact_is_the_table_and_the_spend():
    results = "## Results\n\n| a |\n\n![p](p.svg)\n\n"
    report = f"# What 4 calls bought\n\n- **Data**\n\n{results}## Calls needed\n\nmany\n\n## What was spent\n\n| b |\n"
    assert _study(report) == "# What 4 calls bought\n\n## Results\n\n| a |\n\n\n## What was spent\n\n| b |\n"


def test_a_bad_override_is_refused_before_anything_runs(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared)
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
    assert "error: 1 of 11 stages failed: train@40-kd-0" in done.stderr
    story = done.stdout[done.stdout.index("# The study is not complete") :]
    assert "## train@40-kd-0 failed" in story
    assert "RuntimeError: chalk" in story
    assert "Not run, because they need what failed: evaluate@40-kd-0, report, register." in story
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
    for line in ("# What 40 calls bought", "| 40 | `ce` | 1 |", "| 40 | `kd` | 1 |", "| 40 | 40 | 0.40 | 40 |"):
        assert line in found


@pytest.mark.slow
def test_a_second_run_starts_no_stage(mended):
    folder, environment, _ = mended
    done = distill(folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 stages are up to date, 0 of them were due" in done.stderr
    assert "Running stage" not in done.stderr


@pytest.mark.slow
def test_sigterm_leaves_no_process(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared)
    with (tmp_path / "out.txt").open("w") as out:
        flow = psutil.Popen(
            [sys.executable, "-m", "flows.distill"], cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        started = _wait_for_stage(flow)
        flow.send_signal(signal.SIGTERM)
        assert flow.wait(30) == 128 + signal.SIGTERM
        _, alive = psutil.wait_procs(started, timeout=5)
        assert alive == []
    finally:
        if flow.is_running():
            flow.kill()


def _wait_for_stage(flow: psutil.Popen) -> list[psutil.Process]:
    """All processes that the flow has, once a stage of its own is among them."""
    end = time.monotonic() + 90
    while time.monotonic() < end and flow.poll() is None:
        children = flow.children(recursive=True)
        for child in children:
            try:
                if "stages.prepare" in child.cmdline():
                    return children
            except psutil.NoSuchProcess:
                pass
        time.sleep(0.05)
    raise AssertionError("no stage has started")

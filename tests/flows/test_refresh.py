"""The flow over a real workspace and a real Prefect server: spent once, killed and run again, and no pile of missed periods."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from support import bill, digits
from support.workspaces import DVC, below, make_workspace, prefect_server, wait_for

from flows.refresh import outcome_text

SERVE = "from flows.refresh import refresh; refresh.serve(name='nightly', interval=86400, limit=1)"


def fill(folder: Path, first: int, last: int) -> None:
    """Lay real digits that no split holds into the inbox."""
    images, labels = digits(1000)
    for row in range(700 + first, 700 + last):
        (folder / "inbox" / str(labels[row])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[row]).save(folder / "inbox" / str(labels[row]) / f"{row}.png")


def run_refresh(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "flows.refresh", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


def ask(environment: dict[str, str], method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        environment["PREFECT_API_URL"] + path,
        json.dumps(body).encode() if body is not None else None,
        {"Content-Type": "application/json"},
        method=method,
    )
    for attempt in range(30):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != 503 or attempt == 29:  # its SQLite file is in another's hands for a moment
                raise
            time.sleep(1)
    return None


def result(folder: Path) -> dict:
    return json.loads((folder / "refresh/result.json").read_text())


def is_due(folder: Path, environment: dict[str, str]) -> dict:
    done = subprocess.run([*DVC, "status", "--json"], cwd=folder, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory, prepared):
    """A workspace with an inbox of 30 digits and an allowance of 12, and a Prefect server."""
    folder = tmp_path_factory.mktemp("refresh")
    changes = {
        "study.methods": ["kd"],
        "refresh.inbox": "inbox",
        "refresh.allowance": 12,
        "refresh.strategy": "balanced",
        "teacher.batch_size": 2,
        "teacher.canary": 2,
        "flows.retries": 0,
    }
    environment = make_workspace(folder, prepared, changes)
    fill(folder, 0, 30)
    with prefect_server(folder, environment) as url:
        yield folder, {**environment, "PREFECT_API_URL": url}


@pytest.fixture(scope="module")
def refreshed(server):
    """The first refresh, killed -9 in the middle of its purchase and run again."""
    folder, environment = server
    slow = {**environment, "DELAY": "3"}
    with (folder / "out.txt").open("w") as out:
        flow = psutil.Popen(
            [sys.executable, "-m", "flows.refresh"], cwd=folder, env=slow, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: len(bill(folder)) >= 4, flow, folder / "out.txt", 600)
        stages = below(flow, "stages.teach")
        assert stages
        flow.send_signal(signal.SIGKILL)
        flow.wait(30)
        _, alive = psutil.wait_procs(stages, timeout=60)
        assert alive == []
    finally:
        if flow.is_running():
            flow.kill()
    broken_off = bill(folder)
    return folder, environment, broken_off, run_refresh(folder, environment)


@pytest.mark.slow
def test_killed_in_its_purchase_the_next_run_spends_what_is_left(refreshed):
    folder, environment, broken_off, done = refreshed
    assert done.returncode == 0, done.stdout + done.stderr
    assert 4 <= len(broken_off) < 12
    assert len(bill(folder)) == len(set(bill(folder))) == 12
    said = result(folder)
    assert (said["spent"], said["allowance"], said["later"]) == (12, 12, 18)
    assert (said["champion_before"], said["champion"]) == (None, "1")
    assert said["verdict"].startswith("champion: the first")
    assert is_due(folder, environment) == {}
    assert (folder / "additions.dvc").exists()


@pytest.mark.slow
def test_the_artifact_tells_what_was_taken_spent_and_promoted(refreshed):
    _, environment, _, _ = refreshed
    found = ask(environment, "GET", "/artifacts/refresh/latest")["data"]
    for line in (
        "| spent this day | 12 of 12 calls |",
        "| champion before | none |",
        "| champion now | version 1 |",
        "# What 12",
    ):
        assert line in found


@pytest.mark.slow
def test_run_twice_it_spends_once_and_runs_nothing(refreshed):
    folder, environment, _, _ = refreshed
    before = {
        name: (folder / name).read_bytes() for name in ("params.yaml", "dvc.lock", "additions.dvc", "refresh/order.txt")
    }
    done = run_refresh(folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18 wait for another day: nothing was spent and nothing was run" in done.stdout
    assert "Running stage" not in done.stderr
    assert len(bill(folder)) == 12
    assert before == {name: (folder / name).read_bytes() for name in before}


@pytest.mark.slow
def test_a_class_never_seen_ends_it_and_nothing_is_spent(refreshed):
    folder, environment, _, _ = refreshed
    strange = folder / "inbox/dragon/1.png"
    strange.parent.mkdir()
    Image.new("L", (28, 28)).save(strange)
    done = run_refresh(folder, environment)
    strange.unlink()
    strange.parent.rmdir()
    assert done.returncode == 1
    assert "take failed" in done.stderr
    assert "'dragon': a class never seen; valid folders: 0, 1, 2" in done.stderr
    assert len(bill(folder)) == 12


@pytest.mark.slow
def test_missed_periods_do_not_pile_up(refreshed):
    """A deployment of which five runs are late: one does the work, the others are skipped, and those to come stay."""
    folder, environment, _, _ = refreshed
    quick = {**environment, "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    with (folder / "serve.txt").open("w") as out:
        runner = psutil.Popen(
            [sys.executable, "-c", SERVE], cwd=folder, env=quick, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: "nightly" in (folder / "serve.txt").read_text(), runner, folder / "serve.txt")
        deployment = ask(environment, "GET", "/deployments/name/refresh/nightly")["id"]
        now = datetime.now(UTC)
        late = {
            "start_time": (now - timedelta(days=5)).isoformat(),
            "end_time": now.isoformat(),
            "min_runs": 5,
            "max_runs": 5,
        }
        ask(environment, "POST", f"/deployments/{deployment}/schedule", late)
        wanted = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 100}

        def ended() -> list[dict]:
            found = [
                one
                for one in ask(environment, "POST", "/flow_runs/filter", wanted)
                if one["expected_start_time"] < now.isoformat()
            ]
            return (
                found
                if found and all(one["state_type"] in ("COMPLETED", "CANCELLED", "FAILED", "CRASHED") for one in found)
                else []
            )

        found = wait_for(ended, runner, folder / "serve.txt", 600)
        states = sorted(one["state_type"] for one in found)
        assert len(states) >= 5
        assert states == [*["CANCELLED"] * (len(states) - 1), "COMPLETED"], (folder / "serve.txt").read_text()
        coming = {
            "deployments": {"id": {"any_": [deployment]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        }
        assert ask(environment, "POST", "/flow_runs/filter", coming)
        assert f"{len(states) - 1} missed runs" in ask(environment, "GET", "/artifacts/refresh/latest")["data"]
        assert len(bill(folder)) == 12
    finally:
        left = runner.children(recursive=True) if runner.is_running() else []
        runner.terminate()
        _, alive = psutil.wait_procs([runner, *left], timeout=20)
        for process in alive:
            process.kill()


def outcome(**changes: Any) -> dict[str, Any]:
    return {
        "taken": 0,
        "duplicates": 3,
        "rejected": 1,
        "bought": 0,
        "spent": 5,
        "allowance": 9,
        "every": "week",
        "later": 0,
        "ranked_by": "x",
        "champion_before": "2",
        "champion": "2",
        "verdict": "not better",
        **changes,
    }


def test_what_it_says():
    assert outcome_text(outcome(), ran=False)[0] == "nothing new: nothing was spent and nothing was run"
    assert (
        outcome_text(outcome(later=4), ran=False)[0] == "4 wait for another week: nothing was spent and nothing was run"
    )
    assert outcome_text(outcome(), ran=True)[0] == "the last refresh was brought to its end; nothing was spent"
    line, text = outcome_text(outcome(bought=5, taken=7, champion="3"), ran=True)
    assert line == "7 new samples taken, 5 calls bought"
    for row in (
        "| spent this week | 5 of 9 calls |",
        "| champion before | version 2 |",
        "| champion now | version 3 |",
    ):
        assert row in text


def test_bad_options_are_refused_before_anything_runs(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared, databases=False)
    for arguments, said in ((["--allowance", "0"], "expected 1 or more"), (["--strategy", "best"], "invalid choice")):
        done = run_refresh(tmp_path, environment, *arguments)
        assert done.returncode == 2
        assert said in done.stderr
    assert not (tmp_path / ".prefect-home/prefect.db").exists()

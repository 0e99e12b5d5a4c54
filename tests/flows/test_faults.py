"""What is left behind when a flow ends before its time, and what the next one makes of it."""

import fcntl
import signal
import subprocess
import sys

import psutil
import pytest
from support import bill
from support.workspaces import DVC, below, distill, make_workspace, start_flow, wait_for

from flows.local.lock import keep_lockfile, mend_lockfiles, workspace_lock
from flows.run import runs
from tuition.errors import UserError
from tuition.workspace import Workspace


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, marks=pytest.mark.long), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_flow_that_is_ended_leaves_no_process_and_spends_nothing_more(tmp_path, prepared, number, status):
    """Ended while the teacher is asked; who goes on pays for what is left."""
    environment = make_workspace(tmp_path, prepared, {"teacher.batch_size": 2, "teacher.idempotent": True})
    environment["DELAY"] = "0.2"
    flow = start_flow(tmp_path, environment)
    try:
        wait_for(lambda: len(bill(tmp_path)) > 10, flow, tmp_path / "out.txt")
        started = below(flow, "stages.teach")
        assert any(runs.SERVER in " ".join(one.cmdline()) for one in started)
        flow.send_signal(number)
        assert flow.wait(60) == status
        _, alive = psutil.wait_procs(started, timeout=30)  # Prefect's temporary server among them
        assert alive == []
    finally:
        if flow.is_running():
            flow.kill()
        for one in started:
            if one.is_running():
                one.kill()
    paid = len(bill(tmp_path))
    assert paid < 40
    rest = subprocess.run([*DVC, "repro", "teach@40"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert len(set(bill(tmp_path))) == 40
    assert len(bill(tmp_path)) <= 42  # the two in flight are asked again under their keys


@pytest.mark.slow
def test_a_stage_that_was_killed_is_tried_again(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared)
    (tmp_path / "once").touch()
    method = tmp_path / "stages/train/__main__.py"
    dies = "import os, pathlib, signal\nif (once := pathlib.Path('once')).exists():\n    once.unlink(), os.kill(os.getpid(), 9)\n"
    method.write_text(dies + method.read_text())
    done = distill(tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attempt 2 of 3 in 10 s" in done.stderr
    assert (tmp_path / "report/registered.json").exists()
    assert keep_lockfile(Workspace(tmp_path))
    whole = (tmp_path / "dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text("")  # DVC was killed when it had just opened it
    done = distill(tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dvc.lock: DVC was killed while it wrote it; it is again as it was at" in done.stderr
    assert (tmp_path / "dvc.lock").read_text() == whole
    assert len(bill(tmp_path)) == 40


@pytest.mark.slow
@pytest.mark.long
def test_a_users_error_is_not_tried_again(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared, {"study.budgets": [4000]})
    done = distill(tmp_path, environment)
    assert done.returncode == 1
    assert "study.budgets: 4000 calls, but the pool has" in done.stdout
    assert "attempt" not in done.stderr
    assert bill(tmp_path) == []


@pytest.mark.slow
@pytest.mark.long
def test_a_registry_name_of_another_project_stops_the_study_before_a_call(tmp_path, prepared):
    environment = make_workspace(tmp_path, prepared)
    code = "import mlflow; mlflow.MlflowClient('sqlite:///mlflow.db').create_registered_model('tuition-mnist5k', description='theirs')"
    code += (
        "; run = mlflow.MlflowClient('sqlite:///mlflow.db').create_run('0').info.run_id"
        "; mlflow.MlflowClient('sqlite:///mlflow.db').create_model_version('tuition-mnist5k', 'file:/nowhere', run)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    done = distill(tmp_path, environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "register.name: 'tuition-mnist5k'" in done.stdout
    assert bill(tmp_path) == []


def test_one_flow_at_a_time_works_in_a_workspace(tmp_path, prepared):
    """The second one says who holds it, and has no Prefect database made."""
    environment = make_workspace(tmp_path, prepared, databases=False)
    lock = Workspace(tmp_path).lock
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"flow": "calm-otter", "pid": 7, "since": "2026-01-01 10:00:00"}')
        file.flush()
        done = distill(tmp_path, environment)
    assert done.returncode == 2
    assert (
        "the flow 'calm-otter' works here (process 7, since 2026-01-01 10:00:00); wait for it, stop it, or work in a clone"
        in done.stderr
    )
    assert not (tmp_path / ".prefect-home/prefect.db").exists()


def test_a_workspace_is_free_again_when_its_flow_was_killed(tmp_path, monkeypatch):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    code = (
        "import os, signal\nfrom flows.local.lock import workspace_lock\n"
        "with workspace_lock('one'):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    Workspace(tmp_path).dvc_locks.write_text('{"read": {"data')  # DVC was killed while it wrote
    with workspace_lock("two"), workspace_lock("a flow that the first one runs"):
        assert not Workspace(tmp_path).dvc_locks.exists()


LOCKFILE = """schema: '2.0'
stages:
  one:
    cmd: python -m one
    outs:
    - path: one.txt
      hash: md5
      md5: b026324c6904b2a9cb4b88d6d61c81d1
      size: 2
"""


@pytest.mark.parametrize("left", range(0, len(LOCKFILE), 7))
def test_a_lockfile_that_was_cut_is_whole_again_or_can_be_read(tmp_path, monkeypatch, capsys, left):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    lockfile = tmp_path / "dvc.lock"
    lockfile.write_text(LOCKFILE)
    with workspace_lock("one"):
        assert capsys.readouterr().err == ""
    lockfile.write_text(LOCKFILE[:left])
    with workspace_lock("two"):
        told = capsys.readouterr().err
    assert (lockfile.read_text() == LOCKFILE) == ("it is again as it was at" in told)
    assert keep_lockfile(Workspace())


def test_a_lockfile_without_a_copy_is_put_aside(tmp_path, capsys):
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  one:\n")
    mend_lockfiles(Workspace(tmp_path))
    assert "there is no copy: all stages are due" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock.damaged"]


def test_a_folder_that_is_no_workspace_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no workspace: found no dvc\.yaml and \.dvc"), workspace_lock("one"):
        pass

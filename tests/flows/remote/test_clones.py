"""The clones that workers have: which one is free, and which one is refused."""

import fcntl
import subprocess
import threading

import pytest

from flows.local.lock import workspace_lock
from flows.remote import clones
from tuition.errors import UserError
from tuition.workspace import Workspace


@pytest.fixture
def two(tmp_path):
    """Two clones of a repository with one file of code."""
    first = tmp_path / "one"
    (first / "stages").mkdir(parents=True)
    (first / ".dvc").mkdir()
    (first / ".dvc/config").touch()
    (first / "dvc.yaml").touch()
    (first / "stages/train.py").write_text("print(1)\n")
    for command in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "Code"]):
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run([*git, *command], cwd=first, check=True)
    subprocess.run(["git", "clone", "--quiet", str(first), str(tmp_path / "two")], check=True)
    return first, tmp_path / "two"


def test_cells_at_once_get_a_clone_each_and_the_third_one_waits(two):
    names = [str(one) for one in two]
    waited, go = [], threading.Event()

    def third():
        with clones.free_clone(names, "") as place:
            waited.append(place)

    with clones.free_clone(names, "") as one:
        with clones.free_clone(names, "") as other:
            assert [one, other] == list(two)
            thread = threading.Thread(target=third)
            thread.start()
            go.wait(2 * clones.POLL)
            assert waited == []
        thread.join(60)
        assert waited == [two[1]]


def test_a_clone_that_is_in_use_is_none_for_a_flow_either(two, monkeypatch):
    with clones.free_clone([str(two[0])], ""):
        monkeypatch.chdir(two[0])
        with (
            pytest.raises(UserError, match='the flow "a cell of another machine\'s flow" works here'),
            workspace_lock("x"),
        ):
            pass


def test_the_drivers_own_workspace_is_refused(two):
    lock = Workspace(two[0]).lock
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("the driver")
        file.flush()
        with (
            pytest.raises(UserError, match="is the workspace of the flow itself"),
            clones.free_clone([str(two[0])], "the driver"),
        ):
            pass


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    with (
        pytest.raises(UserError, match=r"TUITION_CLONE: .* is no clone: found no dvc\.yaml and \.dvc"),
        clones.free_clone([str(tmp_path)], ""),
    ):
        pass


def test_other_code_is_refused_committed_or_not(two, monkeypatch):
    monkeypatch.chdir(two[0])
    (two[0] / "stages/train.py").write_text("print(2)\n")  # not committed
    (two[0] / "stages/new.py").touch()
    driver, commit = clones.code_digests(), clones.short_commit()
    clones.check_code(driver, commit)
    monkeypatch.chdir(two[1])
    expected = (
        rf"its code \(commit {commit}\) is not the driver's \(commit {commit}\): stages/new.py, stages/train.py; "
    )
    with pytest.raises(UserError, match=expected):
        clones.check_code(driver, commit)

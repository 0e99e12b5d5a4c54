"""A source tree without git, such as a downloaded archive: it works, or what is missing is said."""

import shutil
import subprocess
import sys

import pytest
from support import ROOT

from flows.local.commands import Commands
from flows.remote.clones import short_commit
from flows.run.study import run_study
from tuition import params as parameters
from tuition.errors import UserError
from tuition.tracking.lineage import check_git, git_tags


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """The files that make a workspace, in no repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", ".dvc")
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo one}}\n")
    return tmp_path


def dvc(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)


def test_a_flow_says_what_makes_a_workspace_of_it(unpacked):
    assert "is not a git repository" in dvc("status").stderr
    with pytest.raises(UserError, match=r"no git repository, which DVC keeps to: .*`git init.*core.no_scm true`"):
        run_study(Commands(), parameters.load(ROOT / "params.yaml"))


NO_SCM = [sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"]


@pytest.mark.parametrize("way", [["git", "init", "-q"], NO_SCM])
def test_what_it_says_is_right(unpacked, way):
    subprocess.run(way, check=True)
    check_git()
    assert dvc("status").returncode == 0


def test_there_is_no_commit_and_no_git_is_needed(unpacked, monkeypatch):
    assert (git_tags(), short_commit()) == ({}, "none")
    monkeypatch.setenv("PATH", str(unpacked))
    assert (git_tags(), short_commit()) == ({}, "none")


def test_the_repository_of_a_folder_above_is_not_its_own(unpacked, monkeypatch):
    (unpacked / "note.txt").write_text("mine")
    for command in (["init", "-q"], ["add", "note.txt"], ["commit", "-qm", "notes"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *command], check=True)
    assert git_tags()["git.dirty"] == "false"
    (unpacked / "tuition-main").mkdir()
    monkeypatch.chdir(unpacked / "tuition-main")
    assert (git_tags(), short_commit()) == ({}, "none")

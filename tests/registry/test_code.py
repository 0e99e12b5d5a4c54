"""The code of a commit in another folder, through real git: what leads out of the repository is left out and named."""

import subprocess
from pathlib import Path

import pytest

from tuition.registry.code import copy_present, extract_commit


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a repository with links, some of which lead out of it."""
    (tmp_path / "study/stages").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "study")
    Path("stages/a.py").write_text("a = 1\n")
    Path("raw").symlink_to("/mnt/pictures")
    Path("stages/up").symlink_to("../../elsewhere")
    Path("same").symlink_to("stages/a.py")
    Path("stages/lost").symlink_to("nowhere")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "study")
    return git("rev-parse", "HEAD")


def test_a_tracked_link_that_leads_out_is_left_out_and_named(commit: str, tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        assert extract_commit(commit, tmp_path / "work", said.append)
    assert (tmp_path / "work/same").read_text() == "a = 1\n"
    assert not (tmp_path / "work/raw").is_symlink()
    assert said[: len(said) // 2] == [
        "warning: left out raw, a link to /mnt/pictures, which leads out of the repository",
        "warning: left out stages/up, a link to ../../elsewhere, which leads out of the repository",
    ]


def test_what_lies_here_is_copied_with_links_that_lead_nowhere(commit: str, tmp_path: Path) -> None:
    assert copy_present(tmp_path / "work")
    assert (tmp_path / "work/stages/a.py").read_text() == "a = 1\n"


def test_without_git_there_is_no_commit(commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not extract_commit(commit, tmp_path / "work", print)
    assert not extract_commit("--output=x", tmp_path / "work", print)

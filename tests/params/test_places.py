"""Paths in params.yaml: `~` is the user's folder, and what leads nowhere is told before anything runs."""

import json
import os
from pathlib import Path

import pytest
from support import write_params
from support.registry import tuition

from tuition import params as parameters
from tuition.errors import UserError
from tuition.params import Data
from tuition.params.places import check_watched, linked_folders
from tuition.sources import load_source
from tuition.sources.vision import load_torchvision
from tuition.workspace import given


@pytest.fixture
def home(workspace, tmp_path, monkeypatch) -> Path:
    """A user's folder with a file in it, and a link that leads nowhere."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    (folder / "there").write_text("something")
    (folder / "lost").symlink_to("nowhere")
    return folder


@pytest.mark.parametrize(
    "key", ["data.watch", "data.watch_evaluation", "teach.watch", "compare.watch", "teacher.weights"]
)
def test_what_dvc_reads_is_named_in_full(workspace, home, key):
    write_params(workspace, {key: "~/there"}, check=False)
    with pytest.raises(UserError, match=rf"{key}: found '~/there', but DVC.* knows no `~`; write '{home}/there'"):
        parameters.load()
    write_params(workspace, {key: str(home / "there")})
    check_watched(parameters.load())
    write_params(workspace, {key: str(home / "lost")})
    with pytest.raises(UserError, match=rf"{key}: found .*: {home}/lost is a link to 'nowhere', which is not there"):
        check_watched(parameters.load())
    ran = tuition("check")
    assert (ran.exit_code, f"{home}/lost is a link to 'nowhere'" in ran.output) == (2, True), ran.output


def test_dvc_takes_no_file_twice(workspace, home):
    same = {"data.watch": "there.csv", "data.watch_evaluation": "./there.csv"}
    write_params(workspace, same, check=False)
    with pytest.raises(UserError, match=r"data.watch_evaluation: found './there.csv', which data.watch names already"):
        parameters.load()


def test_what_dvc_cannot_read_in_a_folder_is_told(workspace, home):
    (home / "pics/cat").mkdir(parents=True)
    write_params(workspace, {"data.watch": str(home / "pics")})
    (home / "pics/more").symlink_to("cat")
    check_watched(parameters.load())
    assert linked_folders(home / "pics") == [home / "pics/more"]
    (home / "pics/cat/lost.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"data.watch: .*/cat/lost.png is a link to 'nowhere', .*: DVC cannot read it"):
        check_watched(parameters.load())
    (home / "pics/cat/lost.png").unlink()
    Path(os.fsdecode(os.fsencode(home / "pics/cat") + b"/\xff.png")).touch()
    with pytest.raises(UserError, match=r"data.watch: '.*udcff.png': a name that is not UTF-8"):
        check_watched(parameters.load())


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("data.source", lambda place: {"data.source": f"folder:{place}"}),
        ("data.source", lambda place: {"data.source": f"npz:{place}"}),
        ("data.evaluation", lambda place: {"data.evaluation": f"csv:{place}"}),
        ("transfer.source", lambda place: {"transfer.source": f"folder:{place}"}),
        ("refresh.inbox", lambda place: {"refresh.inbox": place}),
        (
            "teachers.0.weights",
            lambda place: {"teachers": [{"kind": "checkpoint", "name": "b", "arch": "resnet8", "weights": place}]},
        ),
    ],
)
def test_other_paths_are_expanded_and_looked_at(workspace, home, key, changes):
    write_params(workspace, changes("~/there"))
    assert "found '~/there'" not in tuition("check").output
    for place, said in (
        ("~/lost", f"{home}/lost is a link to 'nowhere', which is not there"),
        ("~/no", "no such file"),
    ):
        write_params(workspace, changes(place))
        ran = tuition("check")
        assert (ran.exit_code, f"error: {key}: found '{place}': {said}" in ran.output) == (2, True), ran.output


def test_a_user_that_is_not_there_is_told(home):
    for kind in ("folder", "npz"):
        with pytest.raises(UserError, match=r"~nobody-here/x: no such"):
            load_source(Data(source=f"{kind}:~nobody-here/x"))


def test_a_source_that_is_read_already_may_be_gone(workspace, home):
    write_params(workspace, {"data.source": "folder:~/no"})
    made = json.loads((workspace / "data/meta.json").read_text())
    (workspace / "data/meta.json").write_text(
        json.dumps(made | {"source": "folder:~/no", "data": made["data"] | {"source": "folder:~/no"}})
    )
    ran = tuition("check")
    assert ran.exit_code == 0, ran.output


def test_a_root_that_leads_nowhere_is_told(home):
    with pytest.raises(UserError, match=r"torchvision:MNIST: cannot be downloaded"):
        load_torchvision("MNIST", Data(root="~/lost"))


def test_the_command_expands_what_no_shell_does(workspace, home):
    write_params(workspace)
    ran = tuition("use", "~/there")
    assert f"error: {home}/there: " in ran.output
    assert given("~/there") == home / "there"

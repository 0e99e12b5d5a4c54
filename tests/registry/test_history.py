"""Promotions and demotions as a person makes them, in a real registry."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.registry import NAME, tuition, write_figures
from support.small_study import write_cell

from stages.register.__main__ import main
from tuition.files import read_json
from tuition.registry.history import champion_before
from tuition.tracking import store


def champion() -> str:
    return str(store.connect_store(NAME).client.get_model_version_by_alias(NAME, "champion").version)


def register(workspace: Path, steps: int, of: int = 0) -> str:
    """Register a student of so many steps; returns its version."""
    write_cell(workspace, 100, "kd", 0, steps=steps, of=of)
    write_figures(workspace, "100-kd-0")
    main([])
    return read_json(Path("report/registered.json"))["version"]


def promoted(version: str, over: str | None = None) -> dict:
    return {"event": "promoted", "version": version, "over": over}


def demoted(version: str, to: str) -> dict:
    return {"event": "demoted", "version": version, "to": to}


@pytest.mark.parametrize(
    ("told", "now", "expected"),
    [
        ([], "1", None),
        ([promoted("1")], "1", None),
        ([promoted("1"), promoted("2", "1")], "2", "1"),
        ([promoted("1"), promoted("2", "1"), promoted("3", "2"), demoted("3", "2")], "2", "1"),
        ([promoted("1"), promoted("2", "1"), promoted("3", "2"), demoted("3", "2"), demoted("2", "1")], "1", None),
        ([promoted("1"), promoted("2", "1"), promoted("1", "2")], "1", "2"),
        ([promoted("1"), promoted("2", "1"), promoted("1", "2"), demoted("1", "2")], "2", "1"),
        ([promoted("4", "3")], "4", "3"),  # 3 was champion before there was a history
        ([promoted("1"), promoted("2", "1")], "5", "2"),  # 5 was set by hand
        ([promoted("1"), promoted("2", "1"), promoted("9", "2"), promoted("3", "9")], "3", "2"),  # 9 was deleted
        ([promoted("1"), promoted("1"), promoted("2", "1")], "2", "1"),  # killed before the alias, and run again
    ],
)
def test_the_champion_before(told: list[dict], now: str, expected: str | None) -> None:
    assert champion_before(told, now, {str(n) for n in range(1, 9)}) == expected


def test_the_registering_stage_writes_history(workspace: Path) -> None:
    told = json.loads(tuition("history", "--json").stdout)
    (event,) = told["events"]
    assert (told["champion"], event["event"], event["version"], event["over"]) == ("1", "promoted", "1", None)
    assert event["by"].endswith(", register")
    assert event["reason"] == "the first: there was no champion"
    assert event["verdict"]["promoted"]
    made = event["made_of"]
    assert (made["calls"], made["cost"], made["budget"]) == (100, 1.0, 100)
    assert made["teacher"] == {"name": "digits-resnet14", "fingerprint": "f" * 64}


def test_promoting_and_going_back(workspace: Path) -> None:
    assert register(workspace, 40) == "2"
    assert champion() == "2"
    assert register(workspace, 3) == "3"  # worse: it stays a challenger
    assert champion() == "2"

    refused = tuition("promote")
    assert refused.exit_code == 1, refused.output
    assert "paired test  BROKEN  top-1 " in refused.stdout
    assert f"{NAME} version 3 (100-kd-0): not promoted" in refused.stdout
    assert champion() == "2"

    assert tuition("promote", "3", "--force").exit_code == 2
    tried = tuition("promote", "3", "--force", "--reason", "a trial", "--dry-run")
    assert (tried.exit_code, "would be promoted over version 2" in tried.stdout, champion()) == (0, True, "2")
    forced = tuition("promote", "3", "--force", "--reason", "a trial")
    assert (forced.exit_code, "promoted over version 2" in forced.stdout, champion()) == (0, True, "3")

    back = tuition("demote", "--reason", "it was a trial")
    assert (back.exit_code, champion()) == (0, "2"), back.output
    assert f"{NAME}: version 2 is champion again, version 3 is not" in back.stdout
    assert (tuition("demote").exit_code, champion()) == (0, "1")
    last = tuition("demote")
    assert (last.exit_code, champion()) == (2, "1")
    assert "version 1 is the first champion that is known, so there is none to go back to" in last.output

    events = json.loads(tuition("history", "--json").stdout)["events"]
    assert [(e["event"], e["version"]) for e in events] == [
        ("promoted", "1"),
        ("promoted", "2"),
        ("promoted", "3"),
        ("demoted", "3"),
        ("demoted", "2"),
    ]
    assert (events[2]["forced"], events[2]["reason"], events[2]["over"]) == (True, "a trial", "2")
    assert not events[2]["verdict"]["promoted"]
    assert (events[3]["to"], events[3]["reason"]) == ("2", "it was a trial")
    shown = tuition("history").stdout
    assert "promoted by force  3        100-kd-0  over 2" in shown
    assert shown.endswith(f"champion of {NAME} now: version 1\n")


def test_what_a_person_demoted_is_not_promoted_by_itself_again(workspace: Path) -> None:
    assert register(workspace, 40) == "2"
    assert tuition("demote", "--reason", "bad on sevens").exit_code == 0
    main([])  # the same student, which beats version 1 on the test samples
    said = read_json(Path("report/registered.json"))
    assert (said["version"], said["aliases"], champion()) == ("2", ["challenger"], "1")
    assert "version 2 was demoted on " in said["reason"]
    assert "(bad on sevens)" in said["reason"]
    assert tuition("promote").exit_code == 0  # but a person may
    assert champion() == "2"
    main([])
    assert read_json(Path("report/registered.json"))["aliases"] == ["champion", "challenger"]


def test_promoting_the_champion_changes_nothing(workspace: Path) -> None:
    ran = tuition("promote", "champion", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["outcome"]) == (0, "champion already")
    assert len(json.loads(tuition("history", "--json").stdout)["events"]) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["promote", "7"], f"'{NAME}' has no version 7; valid: 1"),
        (["promote", "winner"], f"'{NAME}' has no winner; its aliases: challenger (version 1), champion (version 1)"),
        (["promote", "models:/other@champion"], "no registered model 'other' in sqlite:///"),
        (
            ["lineage", "models:/other/3/4"],
            "found 'models:/other/3/4'; valid: models:/<name>@champion, models:/<name>/<version>",
        ),
        (["history", "--name", "other"], f"there: {NAME}"),
        (["demote", "--name", "other"], "'other' has no champion"),
        (["reproduce", "models:/other@champion"], "no registered model 'other'"),
        (["export", "9", "student.onnx"], f"'{NAME}' has no version 9; valid: 1"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(workspace: Path, command: list[str], message: str) -> None:
    ran = tuition(*command)
    assert ran.exit_code == 2, ran.output
    assert message in ran.output
    assert champion() == "1"


def test_without_a_champion(workspace: Path) -> None:
    store.connect_store(NAME).client.delete_registered_model_alias(NAME, "champion")
    for command in (["reproduce"], ["lineage"], ["export", "champion", "x.onnx"]):
        ran = tuition(*command)
        assert (ran.exit_code, f"'{NAME}' has no champion; its aliases: challenger" in ran.output) == (2, True)
    assert f"'{NAME}' has no champion" in tuition("demote").output
    assert f"champion of {NAME} now: none" in tuition("history").stdout


def test_without_a_store(tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    for command in (["history"], ["promote"], ["demote"]):
        ran = tuition(*command)
        assert (ran.exit_code, "no MLflow store at sqlite:///elsewhere.db" in ran.output) == (2, True)
    assert not Path("elsewhere.db").exists()


def test_the_console_script_imports_no_heavy_library_before_a_command_needs_it() -> None:
    heavy = ("mlflow", "torch", "scipy", "pandas", "dvc", "onnx")
    code = f"import sys, tuition.cli; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""Whose the name is, and whether the champion fits the data: told before anything is spent."""

from pathlib import Path

import numpy as np
import pytest
from support.registry import NAME
from support.small_study import NAMES, TEST, digits, write_cell

from stages.register.__main__ import main
from tuition.errors import UserError
from tuition.files import read_json, write_array, write_json
from tuition.registry.check import OURS
from tuition.tracking import store


def anothers(name: str) -> None:
    """A registered model of somebody else's with one version."""
    client = store.connect_store("elsewhere").client
    client.create_registered_model(name)
    client.create_model_version(name, "file:///tmp/model", tags={"cell": "B4"})


def test_a_name_that_nobody_has_is_free_and_looking_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "params.yaml").write_bytes((registered / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    main(["check"])
    assert f"register.name: '{NAME}' is free" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_our_own_name_with_a_champion_that_fits_passes(workspace: Path, capsys: pytest.CaptureFixture) -> None:
    main(["check"])
    assert "is ours, and version 1, its champion, fits data/meta.json" in capsys.readouterr().out
    assert store.connect_store(NAME).client.get_registered_model(NAME).tags == {OURS: "1"}


def test_a_model_of_the_first_release_is_ours_without_the_mark(workspace: Path) -> None:
    client = store.connect_store(NAME).client
    client.delete_registered_model_tag(NAME, OURS)
    main(["check"])
    assert OURS not in client.get_registered_model(NAME).tags
    main([])
    assert client.get_registered_model(NAME).tags == {OURS: "1"}


@pytest.mark.parametrize("argv", [["check"], []])
def test_a_name_that_another_project_has_is_refused(workspace: Path, argv: list[str]) -> None:
    anothers("digits")
    params = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(params.replace(f"name: {NAME}", "name: digits"))
    told = r"register.name: 'digits' is taken by another project in sqlite:.*: its 1 versions were not made by Tuition; choose another"
    with pytest.raises(UserError, match=told):
        main(argv)
    client = store.connect_store("elsewhere").client
    assert [version.version for version in client.search_model_versions("name = 'digits'")] == [1]
    assert client.get_registered_model("digits").tags == {}
    assert client.get_experiment_by_name("digits") is None or argv == []


def test_a_name_without_versions_may_be_taken(workspace: Path) -> None:
    store.connect_store("elsewhere").client.create_registered_model("empty")
    params = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(params.replace(f"name: {NAME}", "name: empty"))
    main(["check"])
    main([])
    assert read_json(Path("report/registered.json"))["aliases"] == ["champion", "challenger"]


def test_a_champion_that_somebody_set_by_hand_must_say_what_it_takes(workspace: Path) -> None:
    client = store.connect_store(NAME).client
    other = client.create_model_version(NAME, "file:///tmp/model")
    client.set_registered_model_alias(NAME, "champion", other.version)
    with pytest.raises(UserError, match=r"version 2 of .*, the champion in .*, does not say which images"):
        main(["check"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"channels": 3}, "takes images 1x28x28, but those of data/meta.json are 3x28x28"),
        ({"height": 32, "width": 32}, "takes images 1x28x28, but those of data/meta.json are 1x32x32"),
        ({"classes": NAMES[:9]}, r"knows 10 classes \(0, 1, 2, 3, …\), but data/meta.json has 9 classes"),
        ({"classes": NAMES[::-1]}, r"but data/meta.json has 10 classes \(9, 8, 7, 6, …\)"),
    ],
)
def test_a_champion_of_other_images_or_classes_is_refused(workspace: Path, change: dict, told: str) -> None:
    write_json(Path("data/meta.json"), read_json(Path("data/meta.json")) | change)
    with pytest.raises(
        UserError, match=f"register.name: version 1 of '{NAME}'.*{told}.*; choose another register.name"
    ):
        main(["check"])


def test_registering_looks_at_the_student_itself(workspace: Path) -> None:
    write_cell(workspace, 100, "kd", 0, steps=3)
    path = Path("students/100-kd-0/student.json")
    write_json(path, read_json(path) | {"class_names": [f"digit {name}" for name in NAMES]})
    with pytest.raises(UserError, match=r"knows 10 classes .*but students/100-kd-0 has 10 classes \(digit 0"):
        main([])
    assert len(store.connect_store(NAME).client.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_champion_whose_files_are_gone_does_not_stop_the_check(workspace: Path) -> None:
    import shutil

    shutil.rmtree(workspace / "mlruns")
    main(["check"])


def test_a_champion_of_other_test_samples_is_no_error(workspace: Path) -> None:
    images, labels = digits()
    write_array(Path("data/test/images.npy"), images[TEST][::-1])
    write_array(Path("data/test/labels.npy"), np.ascontiguousarray(labels[TEST][::-1]))
    write_json(Path("data/test/meta.json"), {"n": 300, "digest": "0" * 64})
    main(["check"])

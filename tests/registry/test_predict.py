"""`tuition predict` with the champion of a real registry and with a student's own files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.registry import NAME, tuition
from support.small_study import NAMES, TEST, digits, logits_of, student
from typer.testing import CliRunner

from tuition.cli.__main__ import app
from tuition.inputs.images.files import png
from tuition.inputs.images.tuition_images import fitted


@pytest.fixture
def pictures(workspace: Path) -> list[int]:
    """Files of several sizes in the workspace's folder pictures/ and a broken one; the classes that the student sees in them."""
    folder = workspace / "pictures"
    folder.mkdir()
    seen = []
    for number, image in enumerate(digits()[0][TEST][:4]):
        large = np.asarray(Image.fromarray(image[0]).resize((40 + number, 33)))
        (folder / f"{number}.png").write_bytes(png(large[None]))
        seen.append(int(probabilities(fitted(large[None, None], (28, 28)))[0].argmax()))
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:60])
    return seen


def probabilities(images: np.ndarray) -> np.ndarray:
    powers = np.exp(logits_of(student(20, 0)[0], images))
    return powers / powers.sum(1, keepdims=True)


def test_files_and_folders_are_classified_by_the_champion(workspace: Path, pictures: list[int]) -> None:
    ran = tuition("predict", "pictures", "pictures/0.png", "--json", "--top", 2, "--csv", "out/table.csv")
    assert ran.exit_code == 1, ran.output
    assert "pictures/torn.png: " in ran.stderr
    assert "1 of 6 files could not be read" in ran.stderr
    told = json.loads(ran.stdout)
    assert told["student"] == f"{NAME} version 1"
    *rows, torn, again = told["predictions"]
    assert (torn["file"], again) == ("pictures/torn.png", rows[0])
    assert [row["file"] for row in rows] == [f"pictures/{number}.png" for number in range(4)]
    assert [row["class"] for row in rows] == [NAMES[seen] for seen in pictures]
    for row in rows:
        first, second = row["top"]
        assert first == {"class": row["class"], "probability": row["probability"]}
        assert first["probability"] >= second["probability"]
    with Path("out/table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["class"] for row in table] == [*(row["class"] for row in rows), "", rows[0]["class"]]
    assert [row["class_2"] for row in table[:4]] == [row["top"][1]["class"] for row in rows]
    assert [bool(row["reason"]) for row in table] == [False] * 4 + [True, False]


def test_a_students_own_files_say_the_same(workspace: Path, pictures: list[int]) -> None:
    ran = tuition("predict", *(f"pictures/{number}.png" for number in range(4)), "--weights", "students/100-kd-0")
    assert ran.exit_code == 0, ran.output
    heads, *lines = (line.split() for line in ran.stdout.splitlines())
    assert heads == ["file", "class", "probability"]
    assert [line[1] for line in lines] == [NAMES[seen] for seen in pictures]


def test_an_image_may_come_on_stdin(workspace: Path) -> None:
    image = digits()[0][TEST][7]
    ran = CliRunner().invoke(app, ["predict", "-", "--json", "--weights", "students/100-kd-0"], input=png(image))
    assert ran.exit_code == 0, ran.output
    (row,) = json.loads(ran.stdout)["predictions"]
    expected = probabilities(image[None])[0]
    assert (row["file"], row["class"]) == ("-", NAMES[expected.argmax()])
    assert row["probability"] == pytest.approx(expected.max(), abs=1e-5)
    ran = CliRunner().invoke(app, ["predict", "-"], input=b"no image")
    assert (ran.exit_code, "-: not an image that Pillow can read" in ran.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["bare"], "bare: no files below it"),
        (["data", "--model", f"models:/{NAME}@other"], "has no other; its aliases: challenger (version 1), champion"),
        (["data", "--model", "other"], "valid: models:/<name>@champion, models:/<name>/<version>"),
        (["data", "--model", "models:/a/1", "--weights", "students"], "found --model and --weights; give one"),
        (["data", "--weights", "students/none"], "students/none/student.json"),
    ],
)
def test_what_is_not_there_is_told(workspace: Path, arguments: list[str], told: str) -> None:
    Path("bare").mkdir()
    ran = tuition("predict", *arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert told in ran.stderr


def test_where_nothing_is_registered_the_command_that_registers_is_told(
    tmp_path: Path, registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes((registered / "params.yaml").read_bytes())
    ran = tuition("predict", "params.yaml")
    assert ran.exit_code == 2
    assert "no MLflow store at " in ran.stderr
    assert "`dvc repro` makes one" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]

"""A folder of real images, classified by the champion."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.registry import NAME
from support.small_study import NAMES, TEST, digits, logits_of, student

from tuition.errors import UserError
from tuition.inputs.images.tuition_images import decode
from tuition.registry.score import main

MODEL = f"models:/{NAME}@champion"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected(images: np.ndarray) -> np.ndarray:
    powers = np.exp(logits_of(student(20, 0)[0], images))
    return powers / powers.sum(1, keepdims=True)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Digits as PNG, some in folders below, in colour, or large; and files that are no images."""
    folder = tmp_path / "inbox"
    (folder / "more/deep").mkdir(parents=True)
    for number, image in enumerate(digits()[0][TEST][:12]):
        place = folder / ("more/deep" if number % 3 == 0 else "") / f"{number:02}.png"
        Image.fromarray(image[0]).save(place)
    Image.fromarray(digits()[0][TEST][12][0]).convert("RGB").resize((90, 60)).save(folder / "large, colour.jpg")
    Image.fromarray(digits()[0][TEST][13][0]).convert("LA").save(folder / "with-alpha.png")
    (folder / "notes.txt").write_text("no image")
    whole = (folder / "01.png").read_bytes()
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / ".hidden").write_text("not meant")
    return folder


def test_every_file_has_a_row(workspace: Path, inbox: Path, capsys: pytest.CaptureFixture) -> None:
    main([str(inbox), "--model", MODEL, "--out", "out/predictions.csv", "--probabilities"])
    rows = {row["file"]: row for row in table(Path("out/predictions.csv"))}
    assert list(rows) == sorted(rows, key=lambda name: inbox / name)
    assert len(rows) == 17
    answers = expected(digits()[0][TEST][:12])
    for number in range(12):
        row = rows[f"more/deep/{number:02}.png" if number % 3 == 0 else f"{number:02}.png"]
        found = np.array([float(row[f"p_{name}"]) for name in NAMES])
        np.testing.assert_allclose(found, answers[number], atol=1e-5)
        assert row["class"] == NAMES[answers[number].argmax()]
        assert float(row["probability"]) == pytest.approx(answers[number].max(), abs=1e-5)
        assert row["reason"] == ""
    with Image.open(inbox / "large, colour.jpg") as image:
        pixels = decode(image, 1, 28)  # as prepare would have it
    assert rows["large, colour.jpg"]["class"] == NAMES[expected(pixels[None])[0].argmax()]
    assert {name: row["reason"] for name, row in rows.items() if not row["class"]} == {
        "notes.txt": "not an image that Pillow can read",
        "empty.png": "not an image that Pillow can read",
        "torn.png": rows["torn.png"]["reason"],
    }
    assert rows["torn.png"]["reason"]
    assert "out/predictions.csv: 17 files, 14 classified, 3 could not be read" in capsys.readouterr().out


def test_links_odd_names_and_narrow_ranges_are_told(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    inbox, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    inbox.mkdir()
    elsewhere.mkdir()
    Image.fromarray(digits()[0][TEST][0][0]).save(elsewhere / "a.png")
    Image.fromarray(np.full((28, 28), 4095, np.uint16)).save(elsewhere / "deep.png")
    (inbox / "more").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(inbox)
    (inbox / "lost.png").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(inbox) + b"/\xff.png")).write_text("no image")
    main([str(inbox), "--model", MODEL, "--out", "out.csv"])
    rows = {row["file"]: row["reason"] for row in table(Path("out.csv"))}
    assert rows == {
        "lost.png": "a link that leads nowhere",
        "more/a.png": "",
        "more/deep.png": "",
        "\\udcff.png": "not an image that Pillow can read",
    }
    said = capsys.readouterr().out.splitlines()
    assert "1 of 1 images of 16 bits hold values from 4095 to 4095 (12 bits)" in said[-2]
    assert said[-1] == "out.csv: 4 files, 2 classified, 2 could not be read"


def test_it_may_be_run_again_into_the_folder_itself(workspace: Path, inbox: Path) -> None:
    for _ in range(2):
        main([str(inbox), "--model", MODEL, "--out", str(inbox / "predictions.csv")])
    rows = table(inbox / "predictions.csv")
    assert len(rows) == 17
    assert list(rows[0]) == ["file", "class", "probability", "reason"]


def test_many_images_are_held_a_part_at_a_time(workspace: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main([str(inbox), "--model", MODEL, "--out", "whole.csv"])
    monkeypatch.setattr("tuition.registry.predict.BATCH", 5)
    main([str(inbox), "--model", MODEL, "--out", "parts.csv"])
    whole, parts = table(Path("whole.csv")), table(Path("parts.csv"))
    assert [(row["file"], row["class"]) for row in parts] == [(row["file"], row["class"]) for row in whole]


@pytest.mark.parametrize(
    ("folder", "model", "told"),
    [
        ("nowhere", MODEL, "nowhere: no such folder"),
        ("params.yaml", MODEL, "params.yaml: not a folder"),
        ("bare", MODEL, "bare: no files below it"),
        ("data", f"models:/{NAME}/7", "has no version 7; valid: 1"),
        ("data", "models:/other@champion", "no registered model 'other'"),
        ("data", NAME, "valid: models:/<name>@champion, models:/<name>/<version>"),
    ],
)
def test_what_is_not_there_is_told(workspace: Path, folder: str, model: str, told: str) -> None:
    Path("bare").mkdir()
    with pytest.raises(UserError, match=told):
        main([folder, "--model", model])
    assert not Path("predictions.csv").exists()

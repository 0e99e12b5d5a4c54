"""README's three commands, from a folder of photos without labels to a registered student and its page.

Nothing is edited by hand. The teacher is a function that keeps its own bill, and some of its calls time out after they were charged.
"""

import csv
import random
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import bill, digits, readme
from support.clones import clone, run

from tuition.files import read_json

__all__ = ["clone"]
LABELLED, BUDGET = 300, 200
TEACHER = """
# A provider: each call is charged, and three per cent of them bring no answer in time.
import numpy as np
from PIL import Image

weights = np.load("weights.npy")

def seen(image):  # a photo of any size
    return np.asarray(Image.fromarray(image[0]).resize((28, 28)), dtype=float).ravel() / 255

def scores(images, keys):
    with open("bill.txt", "a+") as bill:
        bill.writelines(f"{key}\\n" for key in keys)
        bill.seek(0)
        number = len(bill.readlines())
    if number % 33 == 0:
        raise TimeoutError("the provider did not answer in time")
    shares = np.exp(np.stack([seen(image) for image in images]) @ weights)
    return shares / shares.sum(1, keepdims=True)
"""
MINE = [
    *("--answers", "probabilities", "--budgets", str(BUDGET), "--resize", "28", "--name", "my-photos"),
    *("--seeds", "1", "--set", "train.steps=20", "--set", "train.batch_size=16", "--set", "study.methods=[kd]"),
]


def write_files(folder: Path, pool: int) -> None:
    """A user's files: `pool` photos of many sizes, as JPEG and PNG, a table of LABELLED others with their labels, and a teacher."""
    draw = random.Random(0)
    images, labels = digits(pool + LABELLED)
    (folder / "mine.py").write_text(TEACHER)
    flat = images.reshape(len(images), -1) / 255
    np.save(folder / "weights.npy", 8 * np.linalg.lstsq(flat, np.eye(10)[labels], rcond=0.01)[0])
    for name in ("photos", "labelled"):
        (folder / name).mkdir()
    rows = [("image", "label")]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = f"{'photos' if number < pool else 'labelled'}/{number}.{draw.choice(['jpg', 'png'])}"
        size = draw.randint(28, 96), draw.randint(28, 96)
        Image.fromarray(image).resize(size).save(folder / place)
        rows += [(place, str(label))] if number >= pool else []
    with (folder / "labelled.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.slow
@pytest.mark.parametrize("pool", [500, pytest.param(2000, marks=pytest.mark.long)])
def test_three_commands_from_photos_to_a_registered_student(clone, pool):
    write_files(clone, pool)
    init, check, repro = readme.commands("tuition init")
    run(clone, [*init, *MINE])
    run(clone, check)
    assert bill(clone) == []
    probed = run(clone, [*check, "--probe"])
    assert re.search(r"1 call paid: of \d+\.(jpg|png) the teacher says '\d' with \d+ %", probed), probed
    assert len(bill(clone)) == 1
    said = run(clone, repro)

    received = bill(clone)
    assert 0.95 * BUDGET <= len(received) <= BUDGET
    assert len(set(received)) == len(received)
    lost = len(received) // 33
    assert f"{lost} × TimeoutError: the provider did not answer in time" in said
    assert f"{lost} calls are unknown and count as spent" in said
    spend = read_json(clone / f"outputs/{BUDGET}/spend.json")
    assert (spend["calls"], spend["repeat_calls"], spend["unknown_calls"]) == (len(received), 1, lost), spend
    assert spend["calls"] - spend["repeat_calls"] - spend["usable"] == lost, spend
    assert read_json(clone / "report/registered.json")["name"] == "my-photos"
    page = (clone / "report/report.html").read_text(encoding="utf-8")
    assert f"<li>{lost} calls are unknown and count as spent: see <code>tuition ledger unknown</code></li>" in page
    assert "up to date" in run(clone, ["dvc", "status", "prepare"])
    with (clone / "labelled.csv").open("a") as file:
        file.write("\n")
    assert "labelled.csv" in run(clone, ["dvc", "status", "prepare"])

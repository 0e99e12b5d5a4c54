"""Class folders that are renamed, added or put into another order after answers are owned."""

import shutil
from importlib import import_module

import numpy as np
import pytest
from PIL import Image
from support import bill, write_params

from tuition.errors import UserError
from tuition.files import read_array, read_json

BRIGHTNESS = {"ant": 40, "bee": 110, "cow": 180, "dog": 240}
TEACHER = """
import numpy as np

BRIGHTNESS = {"ant": 40, "bee": 110, "cow": 180, "dog": 240, "zant": 40}

def scores(images, keys, classes):
    with open("bill.txt", "a") as bill:
        bill.writelines(f"{key}\\n" for key in keys)
    means = images.reshape(len(images), -1).mean(1, keepdims=True)
    return -abs(means - [BRIGHTNESS[name] for name in classes])
"""


def write_class(folder, name: str) -> None:
    (folder / name).mkdir(parents=True)
    for number in range(20):
        noise = np.random.default_rng(BRIGHTNESS[name] + number).integers(-9, 9, (9, 9))
        Image.fromarray((BRIGHTNESS[name] + noise).astype(np.uint8)).save(folder / name / f"{number}.png")


def run(folder, budget: int, **data) -> None:
    """Prepare the data and teach, in this process."""
    write_params(
        folder,
        {
            "data.source": "folder:animals",
            **{f"data.{key}": value for key, value in data.items()},
            "teacher.kind": "python",
            "teacher.function": "keeper:scores",
            "teacher.price": 0.01,
            "study.budgets": [budget],
        },
    )
    for stage, arguments in (("prepare", []), ("teach", [str(budget)])):
        import_module(f"stages.{stage}.__main__").main(arguments)


@pytest.fixture
def owned(tmp_path, monkeypatch):
    """A folder of three classes, of which thirty answers are owned."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keeper.py").write_text(TEACHER)
    for name in ("ant", "bee", "cow"):
        write_class(tmp_path / "animals", name)
    run(tmp_path, 30)
    assert len(bill(tmp_path)) == 30
    shutil.rmtree(tmp_path / "outputs")
    return tmp_path


def rename(folder) -> None:
    (folder / "animals/ant").rename(folder / "animals/zant")


def add(folder) -> None:
    write_class(folder / "animals", "dog")


@pytest.mark.parametrize(("change", "now"), [(rename, "3: bee, cow, zant"), (add, "4: ant, bee, cow, dog")])
@pytest.mark.parametrize("budget", [30, 35])
def test_folders_of_other_classes_are_refused_before_a_call(owned, change, now, budget):
    change(owned)
    with pytest.raises(
        UserError, match=rf"for the classes 3: ant, bee, cow, but the data has .*{now}\. Nothing was sent"
    ):
        run(owned, budget)
    assert len(bill(owned)) == 30
    assert not (owned / f"outputs/{budget}/meta.json").exists()


def test_in_another_order_every_answer_keeps_its_class_and_none_is_paid_again(owned):
    run(owned, 30, classes=["cow", "ant", "bee"])  # draws another split, so that some samples are new
    paid = bill(owned)
    assert 30 < len(paid) == len(set(paid)) < 60
    assert read_json(owned / "data/meta.json")["classes"] == ["cow", "ant", "bee"]
    export = owned / "outputs/30"
    labels = read_array(owned / "data/train/labels.npy")[read_array(export / "positions.npy")]
    assert np.array_equal(read_array(export / "logits.npy").argmax(1), labels)

"""An inbox of loose photos of many sizes, for a pool of such without labels: what is new joins as it came, and is bought so, once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import bill, stage
from support.refreshes import Refreshing, dies

from tuition.files import read_array, read_json
from tuition.ledger.keys import Request, key_of
from tuition.params import load
from tuition.sources.additions import listed

TEACHER = """
import numpy as np

def scores(images, keys):  # photos at their own sizes, one at a time
    with open("bill.txt", "a") as bill, open("sizes.txt", "a") as sizes:
        bill.writelines(f"{key}\\n" for key in keys)
        sizes.write(f"{images.shape[3]}x{images.shape[2]}\\n")
    return np.stack([np.bincount(one.ravel() % 3, minlength=3) / one.size * 9 for one in images])
"""
OWN = {
    "teacher.function": "photo_api:scores",
    "teacher.batch_size": 1,
    "data.evaluation": "folder:labelled",
    "data.resize": 16,
    "refresh.allowance": 6,
    "study.methods": ["kd"],
    "methods": {"kd": {}},
}


def photo(number: int) -> Image.Image:
    """A picture with a size of its own, grey or in colour."""
    draw = np.random.default_rng(number)
    shape = (30 + number % 7, 20 + number % 11, *([3] if number % 3 else []))
    return Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def pool(paid) -> Refreshing:
    """Forty photos without labels, and twelve with; nothing prepared yet. The inbox has ten new ones, two of the pool's, and a text."""
    for folder in ("photos", "labelled/a", "labelled/b", "labelled/c", "inbox"):
        (paid / folder).mkdir(parents=True)
    for number in range(40):
        photo(number).save(paid / f"photos/{number}.png")
    for number in range(40, 52):
        photo(number).save(paid / f"labelled/{'abc'[number % 3]}/{number}.png")
    for number in (*range(60, 70), 3, 4):
        photo(number).save(paid / f"inbox/{number}.png")
    (paid / "inbox/notes.txt").write_text("none of them")
    (paid / "photo_api.py").write_text(TEACHER)
    made = Refreshing(paid, "folder:photos")
    made.write(**OWN)
    made.run("prepare")
    return made


def test_they_are_taken_as_they_came_bought_so_and_once(pool):
    taken = pool.take()
    assert (taken["new"], taken["duplicates"], taken["rejected"], taken["classes"]) == (10, {"train": 2}, 1, {})
    assert Path("refresh/rejected.csv").read_text().splitlines()[1] == "notes.txt,not an image that Pillow can read"
    kept = {id: Image.open(f"additions/{id}.png").size for id, name in listed(Path("additions")) if not name}
    assert sorted(kept.values()) == sorted(photo(number).size for number in range(60, 70))
    meta = read_json(Path("data/meta.json"))
    assert (meta["splits"]["train"], meta["labelled"]["train"]) == (50, 0)
    assert read_array(pool.folder / "data/train/images.npy").shape == (50, 3, 16, 16)

    planned = pool.plan()
    assert (planned["new"], planned["later"]) == (6, 4)
    assert planned["ranked_by"] == "random: they have no labels that could be balanced"
    pool.teach()
    chosen = read_array(pool.folder / f"outputs/{pool.budget}/ids.npy").astype(str).tolist()
    assert bill(pool.folder) == [key_of(planned["fingerprint"], Request(one)) for one in chosen]
    shown = Path("sizes.txt").read_text().split()
    assert shown == ["x".join(map(str, kept[one])) for one in chosen]

    again = pool.plan()
    assert (again["new"], again["paid_before"]) == (0, 6)
    assert pool.take()["new"] == 0
    assert stage("teach", pool.budget, cwd=pool.folder).returncode == 0
    assert len(bill(pool.folder)) == 6


def test_what_a_checkpoint_is_shown_is_counted_as_paid_too(pool):
    """It is asked for what students see, whatever a sample's own id is."""
    from safetensors.torch import save_file

    from tuition.models import build

    save_file(build("resnet8", channels=3, classes=3, size=(16, 16)).state_dict(), "kept.safetensors")
    section = {"kind": "checkpoint", "arch": "resnet8", "weights": "kept.safetensors", "name": "kept"}
    pool.write(**OWN, teacher=section)
    pool.take()
    pool.plan()
    pool.teach()
    assert pool.plan()["paid_before"] == 6


@pytest.mark.parametrize("at", [3, 9])
def test_a_take_that_is_killed_is_brought_to_its_end(pool, at):
    assert dies(at, "intake", "take")
    assert pool.take()["additions"] == 10
    assert load().data.additions is not None


def test_folders_that_are_no_class_are_told_with_what_is_valid(pool):
    (pool.inbox / "2026-11").mkdir()
    photo(80).save(pool.inbox / "2026-11/80.png")
    ran = stage("intake", "take", cwd=pool.folder)
    assert ran.returncode == 2
    assert "valid folders: a, b, c, or none: images in the inbox itself have no label" in ran.stderr


def test_a_class_folder_gives_a_label(pool):
    (pool.inbox / "b").mkdir()
    photo(80).save(pool.inbox / "b/80.png")
    taken = pool.take()
    assert (taken["new"], taken["classes"]) == (11, {"b": 1})
    assert read_json(Path("data/meta.json"))["labelled"]["train"] == 1
    labels = read_array(pool.folder / "data/train/labels.npy")[40:]
    assert sorted(labels.tolist()) == [-1] * 10 + [1]

"""Class folders with links in them, and with names that are no UTF-8."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuition.errors import UserError
from tuition.params import Data
from tuition.sources.folder import files_below, load_folder
from tuition.sources.splits import summary
from tuition.sources.splits import write_splits as prepare


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Ten images a class, and ten more of each class in a folder that only a link below the class names."""
    for number, name in enumerate(("cat", "dog")):
        for index in range(10):
            save(tmp_path / f"pets/{name}/{index}.png", 100 * number + index)
            save(tmp_path / f"elsewhere/{name}/deep/{index}.png", 100 * number + index + 50)
        (tmp_path / f"pets/{name}/more").symlink_to(tmp_path / f"elsewhere/{name}")
    return tmp_path / "pets"


def test_images_behind_linked_folders_are_read(pets, tmp_path):
    meta = prepare(Data(source=f"folder:{pets}"), tmp_path / "data")
    assert (sum(meta["splits"].values()), meta["rejected"]) == (40, 0)


def test_each_real_folder_is_read_once_and_a_circle_ends(pets, tmp_path):
    (pets / "cat/again").symlink_to(tmp_path / "elsewhere/cat/deep")  # which `more` leads to
    (pets / "cat/up").symlink_to("../..")  # would hold dogs, too
    (tmp_path / "elsewhere/dog/deep/back").symlink_to("..")
    (tmp_path / "elsewhere/dog/self").symlink_to(tmp_path / "pets/dog")
    found = load_folder(str(pets), Data()).parts["train"].labels
    assert np.bincount(found).tolist() == [20, 20]


def test_a_class_folder_may_be_a_link(pets, tmp_path):
    (pets / "dog").rename(tmp_path / "dogs")
    (pets / "dog").symlink_to("../dogs")
    assert len(load_folder(str(pets), Data()).parts["train"].labels) == 40


def test_a_folder_that_is_a_link_itself_goes_by_its_own_path(pets, tmp_path):
    (tmp_path / "way").symlink_to(pets)
    names = [file.relative_to(tmp_path / "way").as_posix() for file in files_below(tmp_path / "way/cat")]
    assert names[0] == "cat/0.png"
    assert names[-1] == "cat/more/deep/9.png"


def test_links_that_lead_nowhere_are_listed(pets, tmp_path):
    (pets / "cat/gone.png").symlink_to("nowhere.png")
    (pets / "dog/lost").symlink_to(tmp_path / "lost")
    (pets / "dog/round").symlink_to("round")
    meta = prepare(Data(source=f"folder:{pets}", max_unreadable=0.1), tmp_path / "data")
    rows = list(csv.reader((tmp_path / "data/rejected.csv").read_text().splitlines()))[1:]
    assert rows == [[name, "a link that leads nowhere"] for name in ("cat/gone.png", "dog/lost", "dog/round")]
    assert "3 unreadable files" in summary(meta)


@pytest.mark.parametrize("name", ["eel", "test"])
def test_a_class_or_split_that_is_a_link_to_nothing_is_refused(pets, name):
    (pets / name).symlink_to("nowhere")
    with pytest.raises(UserError, match=rf"'{name}' is a link to 'nowhere', which is not there"):
        load_folder(str(pets), Data())


def test_a_file_whose_name_is_not_utf8_is_read_and_told(pets, tmp_path):
    os.rename(pets / "cat/0.png", os.fsencode(pets / "cat") + b"/caf\xe9.png")
    Path(os.fsdecode(os.fsencode(pets / "dog") + b"/\xff.png")).write_text("no image")
    meta = prepare(Data(source=f"folder:{pets}", max_unreadable=0.1), tmp_path / "data")
    assert (sum(meta["splits"].values()), meta["rejected"]) == (40, 1)
    assert "dog/\\udcff.png,not an image" in (tmp_path / "data/rejected.csv").read_bytes().decode()


def test_a_class_whose_name_is_not_utf8_is_refused(pets):
    os.rename(pets / "cat", os.fsencode(pets) + b"/caf\xe9")
    with pytest.raises(UserError, match="its name is not UTF-8; rename it"):
        load_folder(str(pets), Data())

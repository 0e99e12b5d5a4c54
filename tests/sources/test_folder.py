"""Class folders of real image files: any mode, any size, damaged ones, any of the two layouts."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuition.errors import UserError
from tuition.files import read_array
from tuition.inputs.images.tuition_images import decode
from tuition.params import Data
from tuition.sources.folder import load_folder
from tuition.sources.splits import write_splits as prepare


def save(path: Path, seed: int, size: tuple[int, int] = (20, 20), mode: str = "RGB", **options) -> None:
    """A real image file with pixels of its own; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)


def fill(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 10, start: int = 0, **how) -> None:
    for number, name in enumerate(classes):
        for index in range(count):
            save(root / name / f"{index:02}.png", start + 1000 * number + index, **how)


def test_class_folders_without_splits(tmp_path):
    fill(tmp_path / "pets")
    meta = prepare(Data(source=f"folder:{tmp_path / 'pets'}"), tmp_path / "data")
    assert meta["classes"] == ["cat", "dog"]
    assert meta["splits"] == {"train": 14, "val": 2, "test": 4}
    assert (meta["channels"], meta["height"], meta["width"]) == (3, 20, 20)


@pytest.mark.parametrize("with_val", [True, False])
def test_train_and_test_folders_with_and_without_val(tmp_path, with_val):
    fill(tmp_path / "pets/train", start=0)
    fill(tmp_path / "pets/test", count=3, start=100)
    if with_val:
        fill(tmp_path / "pets/val", count=4, start=200)
    meta = prepare(Data(source=f"folder:{tmp_path / 'pets'}"), tmp_path / "data")
    assert meta["splits"] == {"train": 20, "val": 8, "test": 6} if with_val else {"train": 18, "val": 2, "test": 6}
    test = read_array(tmp_path / "data/test/images.npy")
    with Image.open(tmp_path / "pets/test/cat/01.png") as image:
        assert np.array_equal(test[1], np.asarray(image).transpose(2, 0, 1))


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, classes=("car", "train"))
    assert load_folder(str(tmp_path), Data()).classes == ["car", "train"]


def test_duplicates_across_splits_stay_in_test(tmp_path):
    fill(tmp_path / "pets/train")
    fill(tmp_path / "pets/test", count=3)  # the same pixels as the first three of each class
    save(tmp_path / "pets/train/cat/again.bmp", 5)  # the content of 05.png in another format
    meta = prepare(Data(source=f"folder:{tmp_path / 'pets'}", val=0.2), tmp_path / "data")
    assert meta["duplicates"]["train_in_test"] == 6
    assert (
        meta["duplicates"]["within_train"] + meta["duplicates"]["within_val"] + meta["duplicates"]["train_in_val"] == 1
    )
    train, test = (set(read_array(tmp_path / f"data/{s}/ids.npy").tolist()) for s in ("train", "test"))
    assert not train & test


def test_mixed_sizes_need_resize(tmp_path):
    fill(tmp_path / "pets")
    save(tmp_path / "pets/dog/wide.png", 99, size=(40, 30))
    source = f"folder:{tmp_path / 'pets'}"
    with pytest.raises(
        UserError, match=r"differ in size: 20x20 \(cat/00.png\), 40x30 \(dog/wide.png\).*set data.resize"
    ):
        prepare(Data(source=source), tmp_path / "data")
    meta = prepare(Data(source=source, resize=16), tmp_path / "data")
    assert (meta["height"], meta["width"]) == (16, 16)
    assert sum(meta["splits"].values()) == 21


def test_mixed_modes_become_colour_unless_told(tmp_path):
    fill(tmp_path / "pets", mode="L")
    source = f"folder:{tmp_path / 'pets'}"
    assert prepare(Data(source=source), tmp_path / "grey")["channels"] == 1
    save(tmp_path / "pets/dog/colour.png", 99)
    assert prepare(Data(source=source), tmp_path / "mixed")["channels"] == 3
    assert prepare(Data(source=source, channels=1), tmp_path / "told")["channels"] == 1


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_is_read(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    save(path, 1, mode="RGB" if mode == "LA" else mode)
    if mode == "LA":
        Image.open(path).convert("L").convert("LA").save(path)
    with Image.open(path) as image:
        assert image.mode == mode
        assert decode(image, None, None).shape == (1 if mode in ("LA", "1") else 3, 20, 20)
    with Image.open(path) as image:
        assert decode(image, 1, 8).shape == (1, 8, 8)


def test_a_palette_keeps_its_colours(tmp_path):
    image = Image.new("RGB", (4, 4), (200, 10, 30))
    image.quantize(4).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert decode(image, None, None)[:, 0, 0].tolist() == [200, 10, 30]


def test_transparent_pixels_are_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    image.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pixels = decode(image, None, None)
    assert pixels[:, 0, 0].tolist() == [10, 20, 30]
    assert pixels[:, 3, 3].tolist() == [255, 255, 255]


def test_sixteen_bits_are_scaled(tmp_path):
    values = np.array([[0, 257, 128 * 257], [65535, 128, 129]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode.startswith("I")
        assert decode(image, None, None).tolist() == [[[0, 1, 128], [255, 0, 1]]]


def test_orientation_in_exif_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    save(tmp_path / "a.jpg", 1, size=(30, 20), exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        assert decode(image, None, None).shape == (3, 30, 20)


def test_unreadable_files_are_listed_and_left_out(tmp_path):
    fill(tmp_path / "pets", count=30)
    save(tmp_path / "pets/cat/cut.jpg", 7)
    cut = tmp_path / "pets/cat/cut.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (tmp_path / "pets/dog/text.png").write_text("not an image")
    (tmp_path / "pets/dog/empty.png").touch()
    Image.fromarray(np.ones((20, 20), np.float32)).save(tmp_path / "pets/dog/float.tif")
    source = f"folder:{tmp_path / 'pets'}"
    meta = prepare(Data(source=source, max_unreadable=0.1), tmp_path / "data")
    assert meta["rejected"] == 4
    assert sum(meta["splits"].values()) == 60
    with (tmp_path / "data/rejected.csv").open() as file:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    assert list(reasons) == ["cat/cut.jpg", "dog/empty.png", "dog/float.tif", "dog/text.png"]
    assert "truncated" in reasons["cat/cut.jpg"]
    assert reasons["dog/text.png"] == "not an image that Pillow can read"
    assert "floating-point" in reasons["dog/float.tif"]
    assert str(tmp_path) not in (tmp_path / "data/rejected.csv").read_text()
    with pytest.raises(
        UserError, match=r"4 of 64 files cannot be read \(cat/cut.jpg: .*truncated.*data.max_unreadable"
    ):
        prepare(Data(source=source), tmp_path / "data")


def test_a_class_of_unreadable_files_is_named(tmp_path):
    fill(tmp_path, classes=("cat", "dog", "eel"), count=20)
    for file in (tmp_path / "eel").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"train has no samples of 1 classes \('eel'\)"):
        prepare(Data(source=f"folder:{tmp_path}", max_unreadable=0.9), tmp_path / "data")


def test_hidden_files_are_no_samples(tmp_path):
    fill(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "cat/.DS_Store").write_text("x")
    (tmp_path / "cat/Thumbs.db").write_text("x")
    raw = load_folder(str(tmp_path), Data())
    assert raw.classes == ["cat", "dog"]
    assert raw.rejected == []


def test_images_may_lie_deeper(tmp_path):
    fill(tmp_path, count=2)
    save(tmp_path / "cat/2024/may/a.png", 77)
    assert len(load_folder(str(tmp_path), Data()).parts["train"].labels) == 5


@pytest.mark.parametrize("below", ["", "train/", "test/"])
def test_an_empty_class_folder_is_named(tmp_path, below):
    for split in ("train", "test") if below else ("",):
        fill(tmp_path / split, classes=("cat", "dog", "eel"), count=2)
    for file in (tmp_path / below / "eel").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=rf"class folder '{below}eel' is empty"):
        load_folder(str(tmp_path), Data())


def test_no_images(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="no class folders and no images; expected <path>/<class>/<images>, or"):
        load_folder(str(tmp_path), Data())


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="gone: no such folder"):
        load_folder(str(tmp_path / "gone"), Data())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: not a folder"):
        load_folder(str(tmp_path / "file"), Data())


def test_folders_beside_the_splits_are_not_ignored(tmp_path):
    fill(tmp_path / "train", count=2)
    fill(tmp_path / "extra", count=2)
    with pytest.raises(UserError, match="found extra beside train; valid are train, val, valid, validation, test"):
        load_folder(str(tmp_path), Data())
    (tmp_path / "extra").rename(tmp_path / "valid")
    fill(tmp_path / "validation", count=2)
    with pytest.raises(UserError, match="found valid and validation, which are one split"):
        load_folder(str(tmp_path), Data())


def test_a_class_that_only_test_has_is_refused(tmp_path):
    fill(tmp_path / "train", count=2)
    fill(tmp_path / "test", classes=("cat", "eel"), count=2)
    with pytest.raises(UserError, match="class 'eel' is in test but not in train"):
        load_folder(str(tmp_path), Data())

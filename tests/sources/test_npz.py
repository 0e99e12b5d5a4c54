"""Archives in MedMNIST's convention, whole and wrong."""

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.files import read_array
from tuition.params import Data
from tuition.sources.npz import load_npz
from tuition.sources.splits import write_splits as prepare


def arrays(count: int = 40, shape: tuple[int, ...] = (12, 10, 3), splits: tuple[str, ...] = ("train", "test")) -> dict:
    rng = np.random.default_rng(0)
    made = {}
    for split in splits:
        made[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(count) % 4).astype(np.uint8)[:, None]
    return made


def write(path, content: dict) -> str:
    np.savez(path, **content)
    return str(path)


def test_colour_images_with_class_names(tmp_path):
    content = arrays() | {"classes": np.array(["a", "b", "c", "d"])}
    meta = prepare(Data(source="npz:" + write(tmp_path / "x.npz", content)), tmp_path / "data")
    assert meta["classes"] == ["a", "b", "c", "d"]
    assert meta["splits"] == {"train": 36, "val": 4, "test": 40}
    assert (meta["channels"], meta["height"], meta["width"]) == (3, 12, 10)
    test = read_array(tmp_path / "data/test/images.npy")
    assert np.array_equal(test, content["test_images"].transpose(0, 3, 1, 2))
    assert read_array(tmp_path / "data/test/labels.npy").tolist() == content["test_labels"].ravel().tolist()


def test_grey_images_with_val_and_labels_of_any_value(tmp_path):
    content = arrays(shape=(12, 12), splits=("train", "val", "test"))
    content |= {key: content[key].astype(np.int32) * 10 - 3 for key in content if key.endswith("labels")}
    meta = prepare(Data(source="npz:" + write(tmp_path / "x.npz", content)), tmp_path / "data")
    assert meta["classes"] == ["-3", "7", "17", "27"]
    assert meta["splits"] == {"train": 40, "val": 40, "test": 40}
    assert meta["channels"] == 1
    assert set(read_array(tmp_path / "data/val/labels.npy")) == {0, 1, 2, 3}


def test_channels_and_resize(tmp_path):
    from PIL import Image

    content = arrays()
    parts = load_npz(write(tmp_path / "x.npz", content), Data(channels=1)).parts
    expected = np.asarray(Image.fromarray(content["train_images"][0]).convert("L"))
    assert np.array_equal(parts["train"].images[0, 0], expected)
    resized = load_npz(str(tmp_path / "x.npz"), Data(resize=9)).parts["test"].images
    pillow = Image.fromarray(content["test_images"][3]).resize((9, 9), Image.Resampling.BICUBIC)
    assert np.array_equal(resized[3], np.asarray(pillow).transpose(2, 0, 1))


def test_what_stands_in_for_an_archive_is_named(tmp_path):
    (tmp_path / "x.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(UserError, match=r"x\.npz: not an \.npz file: found a Git LFS pointer"):
        load_npz(str(tmp_path / "x.npz"), Data())
    with pytest.raises(UserError, match=r"a folder, expected an \.npz file; folders of images are folder:"):
        load_npz(str(tmp_path), Data())


def test_channels_that_cannot_be_converted(tmp_path):
    path = write(tmp_path / "x.npz", arrays(shape=(12, 12, 4)))
    assert load_npz(path, Data()).parts["train"].images.shape == (40, 4, 12, 12)
    with pytest.raises(UserError, match=r"data.channels is 3, but the images have 4 channels"):
        load_npz(path, Data(channels=3))


def test_splits_of_different_shapes(tmp_path):
    content = arrays()
    content["test_images"] = arrays(shape=(20, 20, 3))["test_images"]
    path = write(tmp_path / "x.npz", content)
    with pytest.raises(UserError, match=r"differ in size: 10x12 in train, 20x20 in test; set data.resize"):
        load_npz(path, Data())
    assert load_npz(path, Data(resize=16)).parts["test"].images.shape == (40, 3, 16, 16)
    content["test_images"] = arrays(shape=(12, 10))["test_images"]
    with pytest.raises(UserError, match=r"3 channels in train, 1 in test; set data.channels"):
        load_npz(write(tmp_path / "y.npz", content), Data())


def test_missing_keys_are_answered_with_what_was_found(tmp_path):
    content = arrays()
    del content["test_labels"]
    with pytest.raises(UserError, match="lacks test_labels; found train_images, train_labels, test_images"):
        load_npz(write(tmp_path / "x.npz", content), Data())
    content = arrays() | {"val_images": arrays()["train_images"]}
    with pytest.raises(UserError, match="lacks val_labels; found"):
        load_npz(write(tmp_path / "x.npz", content), Data())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_images", np.zeros((40, 12, 10, 3), np.float32), "train_images: found float32, expected uint8"),
        ("train_images", np.zeros((40, 100), np.uint8), r"train_images: found shape \(40, 100\), expected \(N, H, W\)"),
        ("train_images", np.zeros((40, 3, 32, 32), np.uint8), r"found shape \(40, 3, 32, 32\).*\(N, H, W, channels\)"),
        ("train_images", np.zeros((39, 12, 10, 3), np.uint8), "39 train_images, but 40 train_labels"),
        (
            "train_images",
            np.zeros((40, 3, 16, 16), np.uint8),
            r"\(40, 3, 16, 16\): channels seem to come first; expected",
        ),
        ("train_images", np.zeros((40, 8, 8, 8), np.uint8), r"channels may come first or last; expected \(N, H, W\)"),
        ("train_images", np.zeros((40, 100, 3), np.uint8), "images 3 wide and 100 high, or pixels in one row"),
        ("valid_images", np.zeros((40, 12, 10, 3), np.uint8), "found valid_images; valid are .*val_images"),
        ("classes", np.array(["a", "b", "a", "c"]), "classes: found 'a' twice"),
        ("classes", np.array([b"a", b"\xff", b"c", b"d"]), "classes: found b'.xff', expected UTF-8"),
        ("test_labels", np.zeros((40, 14), np.uint8), r"test_labels: found shape \(40, 14\): several labels a sample"),
        ("test_labels", np.zeros((40, 1, 1), np.uint8), r"expected \(N,\) or \(N, 1\)"),
        ("test_labels", np.zeros(40), "test_labels: found float64, expected integers"),
        ("test_labels", np.full(40, 9), "test has label 9; valid are the labels of train"),
        ("classes", np.arange(4), "classes: found int64"),
        ("classes", np.array(["a", "b"]), r"train has label 2; valid are 0\.\.1"),
        ("classes", np.array(["a", "b"], dtype=object), "classes cannot be read .*allow_pickle"),
    ],
)
def test_wrong_arrays(tmp_path, key, value, message):
    with pytest.raises(UserError, match=message):
        load_npz(write(tmp_path / "x.npz", arrays() | {key: value}), Data())


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match=r"gone.npz: no such file"):
        load_npz(str(tmp_path / "gone.npz"), Data())
    path = tmp_path / "x.npz"
    write(path, arrays())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"x\.npz: not a readable \.npz file"):
        load_npz(str(path), Data())
    path.write_text("text")
    with pytest.raises(UserError, match=r"x\.npz: not a readable \.npz file"):
        load_npz(str(path), Data())
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(UserError, match="holds one bare array"):
        load_npz(str(tmp_path / "y.npy"), Data())
    write(path, arrays())
    whole = bytearray(path.read_bytes())
    whole[4000] ^= 255  # one flipped byte inside an array: the archive's checksum notices
    path.write_bytes(whole)
    with pytest.raises(UserError, match="train_images cannot be read"):
        load_npz(str(path), Data())


def test_a_class_without_training_samples_is_named(tmp_path):
    content = arrays() | {"classes": np.array(["a", "b", "c", "d", "e"])}
    with pytest.raises(UserError, match=r"train has no samples of 1 classes \('e'\)"):
        prepare(Data(source="npz:" + write(tmp_path / "x.npz", content)), tmp_path / "data")


@pytest.mark.parametrize("shape", [(12, 12, 5), (8, 8, 3), (16, 8, 3), (12, 12, 1)])
def test_small_images_with_channels_last_are_told_apart(tmp_path, shape):
    images = load_npz(write(tmp_path / "x.npz", arrays(shape=shape)), Data()).parts["train"].images
    assert images.shape == (40, shape[2], *shape[:2])

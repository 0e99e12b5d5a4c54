"""What a registered student makes of what it is sent: to the bit what `prepare` stored of the same image, or a refusal."""

import base64
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuition.files import read_array, read_json
from tuition.inputs.images.files import content_id
from tuition.inputs.images.tuition_images import stored
from tuition.params import Data
from tuition.sources.splits import write_splits

SHAPE = (3, 20, 20)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of several sizes in two classes, and what `prepare` stored of them."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(12):
        height, width = random.integers(15, 60, 2)
        coarse = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((int(width), int(height)))
        (root / f"photos/{'ab'[number % 2]}").mkdir(parents=True, exist_ok=True)
        image.save(root / f"photos/{'ab'[number % 2]}/{number}.png")
    turned = Image.fromarray(random.integers(0, 256, (30, 44, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned.save(root / "photos/a/turned.jpg", exif=exif)
    Image.fromarray(random.integers(0, 256, (33, 21, 4), dtype=np.uint8)).save(root / "photos/b/clear.png")
    write_splits(Data(source=f"folder:{root}/photos", watch=str(root), resize=20, val=0.2, test=0.2), root / "data")
    return root


def as_prepared(root: Path) -> set[str]:
    """The ids of all samples that `prepare` stored: they are digests of their pixels."""
    assert read_json(root / "data/meta.json")["splits"]["train"] > 5
    return {
        one.decode() for split in ("train", "val", "test") for one in read_array(root / f"data/{split}/stored_ids.npy")
    }


@pytest.mark.parametrize("form", ["bytes", "base64", "data URL", "NHWC", "NCHW", "floats"])
def test_a_student_sees_what_prepare_stored(photos: Path, form: str) -> None:
    files = sorted((photos / "photos").rglob("*.*"))
    if form in ("bytes", "base64", "data URL"):
        given: list = [file.read_bytes() for file in files]
        if form != "bytes":
            given = [base64.b64encode(one).decode() for one in given]
        if form == "data URL":
            given = [f"data:image/png;base64,{one}" for one in given]
    else:
        plain = [file for file in files if file.stem.isdigit()]
        given = [np.asarray(Image.open(file)) for file in plain]
        if form == "NCHW":
            given = [one.transpose(2, 0, 1) for one in given]
        if form == "floats":
            given = [one.astype(np.float32) / np.float32(255) for one in given]
        assert len({one.shape for one in given}) > 5
    found = stored(given, SHAPE)
    ids = {content_id(image) for image in found}
    assert (found.dtype, found.shape) == (np.uint8, (len(given), *SHAPE))
    assert ids == as_prepared(photos) if len(given) == len(files) else ids < as_prepared(photos)


def test_a_batch_is_what_its_images_are() -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 31, 47, 3), dtype=np.uint8)
    one_by_one = stored(list(images), SHAPE)
    for batch in (images, images.transpose(0, 3, 1, 2), images.astype(np.float64), images / 255, images.tolist()):
        np.testing.assert_array_equal(stored(batch, SHAPE), one_by_one)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_whole_numbers_are_taken_as_they_are(kind: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stored(np.full((2, 1, 3, 3), 200, kind), (1, 3, 3))
        assert stored(np.zeros((0, 1, 3, 3), kind), (1, 3, 3)).shape == (0, 1, 3, 3)
        assert stored([], (1, 3, 3)).shape == (0, 1, 3, 3)
    assert found.dtype == np.uint8
    assert (found == 200).all()


def test_the_students_own_shape_is_no_riddle() -> None:
    image = np.arange(1, 28, dtype=np.uint8).reshape(1, 3, 3, 3)
    np.testing.assert_array_equal(stored(image, (3, 3, 3)), image)
    grey = np.arange(1, 29, dtype=np.uint8).reshape(1, 28, 1, 1)
    np.testing.assert_array_equal(stored(grey, (1, 28, 1)), grey.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            np.full((1, 3, 2, 2), 4095, np.uint16),
            r"found uint16 from 4095 to 4095; expected whole numbers 0..255, or floats",
        ),
        (np.full((1, 3, 2, 2), 1.5, np.float32), "found float32 from 1.5 to 1.5"),
        (np.full((1, 3, 2, 2), np.nan), "found float64 from nan to nan"),
        (np.full((1, 3, 2, 2), -1), "found int64 from -1 to -1"),
        (np.zeros((1, 3, 9, 3), np.uint8), r"found images of shape \(1, 3, 9, 3\): channels may be the first axis"),
        (np.zeros((1, 4, 9, 4), np.uint8), r"expected \(n, 3, height, width\) or \(n, height, width, 3\)"),
        (np.zeros((9, 9, 3), np.uint8), r"found numbers of shape \(9, 9, 3\), expected images of shape \(n, 3"),
        (b"no image", "image 0: cannot identify image file"),
        ("no base64!", "image 0: text that is not base64"),
        ([np.full((5, 5, 3), 9), np.full((5, 6, 2), 9)], "image 1: found images of shape"),
        ([{"a": 1}], "image 0: found"),
    ],
)
def test_what_is_no_image_is_refused(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stored(given, SHAPE)


def test_a_file_for_a_student_of_other_channels_is_refused() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    with pytest.raises(ValueError, match="takes 5 channels, which no file has: send numbers"):
        stored([file.getvalue()], (5, 4, 4))


def test_whole_numbers_of_which_none_is_bright_are_told() -> None:
    with pytest.warns(UserWarning, match="no pixel is brighter than 1"):
        stored(np.array([[[[0, 1], [0, 0]]]]), (1, 2, 2))

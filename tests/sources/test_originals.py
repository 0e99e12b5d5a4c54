"""Originals: ids that do not depend on what students see, and reading one again from where it came, of every source."""

import io

import numpy as np
import pytest
from PIL import Image

from tuition.errors import UserError
from tuition.files import read_json
from tuition.inputs.images.files import content_id, resized
from tuition.origins import read_origins
from tuition.params import Data
from tuition.sources.originals import Originals
from tuition.sources.splits import write_splits
from tuition.workspace import Workspace

SPLITS = ("train", "val", "test")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(here):
    """Colour images of 40 sizes in two classes, as PNG and JPEG; by their path below photos/."""
    rng = np.random.default_rng(0)
    (here / "photos/cat").mkdir(parents=True)
    (here / "photos/dog").mkdir()
    for number in range(40):
        name = f"{('cat', 'dog')[number % 2]}/{number}.{('png', 'jpg')[number // 2 % 2]}"
        Image.fromarray(rng.integers(0, 256, (12 + number, 20, 3), dtype=np.uint8)).save(here / "photos" / name)
    return here / "photos"


def pixels(path):
    """(C, H, W) of a file."""
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


def prepared(data: Data) -> list[tuple[str, tuple, np.ndarray]]:
    """(id, place, stored sample) of all samples."""
    write_splits(data, Workspace().data.path)
    found = []
    for name in SPLITS:
        split = Workspace().split(name)
        samples = np.load(split.images)
        found += [(id, place, one) for (id, place), one in zip(read_origins(split.files), samples, strict=True)]
    return found


def test_ids_are_of_originals_whatever_students_see(photos):
    small, smaller = (prepared(Data(source="folder:photos", resize=side)) for side in (10, 8))
    assert [one[:2] for one in small] == [one[:2] for one in smaller]  # the splits are the same, too
    for id, (file, _), stored in smaller:
        assert id == content_id(pixels(photos / file))
        assert stored.shape == (3, 8, 8)
    stored_ids = np.load(Workspace().split("train").stored_ids).astype(str)
    train = [content_id(stored) for _, _, stored in smaller[: len(stored_ids)]]
    assert stored_ids.tolist() == train
    assert read_json(Workspace().data.meta)["originals"] == {"height": [12, 51], "width": [20, 20]}


def test_what_is_not_made_smaller_has_one_id(here):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(here / "a.npz", train_images=images, train_labels=np.arange(40) % 2)
    plain = prepared(Data(source="npz:a.npz"))
    same = prepared(Data(source="npz:a.npz", resize=8))
    assert [one[:2] for one in plain] == [one[:2] for one in same]
    assert not Workspace().split("train").stored_ids.exists()
    assert "originals" not in read_json(Workspace().data.meta)


def tables(here, photos):
    """The same photos as sources of other kinds: {source: how a place is read}."""
    import pyarrow as pa
    from pyarrow import parquet

    files = sorted(path.relative_to(here).as_posix() for path in photos.rglob("*.*"))
    labels = [name.split("/")[1] for name in files]
    (here / "t.csv").write_text("image,label\n" + "".join(f"{f},{y}\n" for f, y in zip(files, labels, strict=True)))
    contents = [(here / name).read_bytes() for name in files]
    parquet.write_table(pa.table({"image": contents, "label": labels}), here / "t.parquet", row_group_size=7)
    both = [{"bytes": one, "path": None} for one in contents]
    (here / "saved").mkdir()
    with pa.OSFile(str(here / "saved/a.arrow"), "wb") as sink:
        table = pa.table({"image": both, "label": labels})
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table, max_chunksize=9)
    (here / "saved/state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    row = lambda place: pixels(io.BytesIO(contents[place[1]]))  # noqa: E731
    return {
        "folder:photos": lambda place: pixels(photos / place[0]),
        "csv:t.csv": lambda place: pixels(here / place[0]),
        "parquet:t.parquet": row,
        "hf:saved": row,
    }


def test_each_source_gives_its_originals_again(here, photos):
    for source, read in tables(here, photos).items():
        data = Data(source=source, resize=8)
        originals = Originals(data, channels=3)
        for id, place, stored in reversed(prepared(data)):  # in no order of a file's
            found = originals.read(id, place)
            np.testing.assert_array_equal(found, read(place), err_msg=source)
            np.testing.assert_array_equal(resized(found, 8), stored, err_msg=source)


def test_arrays_and_digits_give_theirs(here):
    images = np.random.default_rng(0).integers(0, 256, (30, 9, 11, 3), dtype=np.uint8)
    np.savez(here / "a.npz", train_images=images, train_labels=np.arange(30) % 2)
    for source, count in (("npz:a.npz", 30), ("mnist5k", 5000)):
        data = Data(source=source, resize=8)
        found = prepared(data)
        assert len(found) == count
        originals = Originals(data, channels=3 if count == 30 else 1)
        for id, place, stored in found[:: count // 10]:
            np.testing.assert_array_equal(resized(originals.read(id, place), 8), stored)


def test_one_that_changed_or_is_gone_is_named(photos):
    data = Data(source="folder:photos", resize=8)
    (first, place, _), (second, other, _) = prepared(data)[:2]
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(photos / place[0])
    (photos / other[0]).unlink()
    originals = Originals(data, channels=3)
    with pytest.raises(UserError, match=f"folder:photos: {place[0]}: not the image that `prepare` read"):
        originals.read(first, place)
    with pytest.raises(UserError, match=f"folder:photos: {other[0]}: cannot be read now"):
        originals.read(second, other)

"""Pools without labels, or with some, and a labelled set beside them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.transfer.__main__ import prepare_transfer
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.images.files import content_id
from tuition.params import Additions, Data, Transfer
from tuition.sources import load_source
from tuition.sources.additions import digest, listed
from tuition.sources.folder import load_folder
from tuition.sources.raw import Part, Raw
from tuition.sources.split import assign
from tuition.sources.splits import summary
from tuition.sources.splits import write_splits as prepare


def images(count: int, seed: int, size: tuple[int, ...] = (9, 9)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)


def fill(folder: Path, count: int, seed: int, size: tuple[int, ...] = (9, 9)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images(count, seed, size)):
        Image.fromarray(image).save(folder / f"{index:02}.png")


def labels(data: Path) -> dict[str, list[int]]:
    return {split: sorted(set(read_array(data / split / "labels.npy").tolist())) for split in ("train", "val", "test")}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty images without labels, and what lies beside them in such a folder."""
    fill(tmp_path / "photos", 30, 0)
    (tmp_path / "photos/notes.txt").write_text("no image")
    return tmp_path / "photos"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Ten images of each of three classes; the first of them are also among the photos."""
    for number, name in enumerate(("a", "b", "c")):
        fill(tmp_path / "few" / name, 10, 10 + number)
    Image.fromarray(images(30, 0)[7]).save(tmp_path / "few/a/same.png")
    return tmp_path / "few"


def test_a_folder_of_images_is_a_pool_without_labels(photos, tmp_path):
    meta = prepare(Data(source=f"folder:{photos}", classes=["cat", "dog"]), tmp_path / "data")
    assert meta["splits"] == {"train": 22, "val": 2, "test": 6}
    assert meta["labelled"] == {"train": 0, "val": 0, "test": 0}
    assert (meta["classes"], meta["evaluated_by"], meta["rejected"]) == (["cat", "dog"], "teacher", 0)
    assert labels(tmp_path / "data") == {"train": [-1], "val": [-1], "test": [-1]}
    assert "with a label: 0 of train, 0 of val, 0 of test" in summary(meta)
    assert read_json(tmp_path / "data/train/meta.json")["classes"] == ["cat", "dog"]


def test_without_labels_something_must_name_the_classes(photos):
    with pytest.raises(UserError, match=r"no sample has a label.*set data.classes to their names.*or data.evaluation"):
        load_source(Data(source=f"folder:{photos}"))


def test_a_labelled_set_gives_val_and_test_and_keeps_what_both_hold(photos, few, tmp_path):
    data = Data(source=f"folder:{photos}", evaluation=f"folder:{few}")
    meta = prepare(data, tmp_path / "data")
    assert meta["splits"] == {"train": 29, "val": 16, "test": 15}
    assert meta["labelled"] == {"train": 0, "val": 16, "test": 15}
    assert meta["duplicates"]["train_in_test"] + meta["duplicates"]["train_in_val"] == 1
    assert "evaluated_by" not in meta
    assert labels(tmp_path / "data") == {"train": [-1], "val": [0, 1, 2], "test": [0, 1, 2]}
    assert (meta["classes"], meta["data"]["evaluation"]) == (["a", "b", "c"], f"folder:{few}")
    sizes = np.bincount(read_array(tmp_path / "data/test/labels.npy"))
    assert sizes.tolist() == [5, 5, 5]
    assert prepare(data, tmp_path / "again") == meta


@pytest.mark.parametrize(
    ("splits", "sizes", "warning"),
    [
        (("val", "test"), (6, 8), None),
        (("train", "test"), (4, 8), None),
        (("train", "valid"), (6, 4), None),
        (("train", "validation", "test"), (6, 8), "4 training samples of data.evaluation are left out"),
    ],
)
def test_splits_of_the_labelled_set_stay(photos, tmp_path, splits, sizes, warning):
    content = {}
    for split, name in zip(
        splits, ({"valid": "val", "validation": "val"}.get(one, one) for one in splits), strict=True
    ):
        count = {"train": 4, "val": 6, "test": 8}[name]
        content |= {
            f"{name}_images": images(count, len(split), (9, 9)),
            f"{name}_labels": np.arange(count) % 2,
        }
    if "train" in splits:
        np.savez(tmp_path / "few.npz", **content)
        source = f"npz:{tmp_path / 'few.npz'}"
        raw = load_source(Data(source=f"folder:{photos}", evaluation=source, resize=12))
    else:
        for split in splits:
            for label in range(2):
                fill(tmp_path / "few" / split / str(label), {"val": 3, "test": 4}[split], label + 50)
        raw = load_source(Data(source=f"folder:{photos}", evaluation=f"folder:{tmp_path / 'few'}", resize=12))
    assert tuple(len(raw.parts[name].labels) for name in ("val", "test")) == sizes
    assert [one for one in raw.warnings if "left out" in one] == (
        [f"{warning}: it has val and test of its own"] if warning else []
    )


def test_grey_photos_beside_coloured_ones_become_coloured(photos, tmp_path):
    for label in range(2):
        fill(tmp_path / "few" / str(label), 3, label + 50, (9, 9, 3))
    raw = load_source(Data(source=f"folder:{photos}", evaluation=f"folder:{tmp_path / 'few'}"))
    assert {part.images.shape[1:] for part in raw.parts.values()} == {(3, 9, 9)}


def made(names: list[str], given: list[int]) -> Raw:
    contents = images(len(given), len(names) + len(given), (1, 2, 2))
    return Raw({"train": Part(contents, np.array(given))}, names)


@pytest.mark.parametrize(
    ("pool", "labelled", "classes", "message"),
    [
        (
            ["a", "b"],
            ["a", "b", "c"],
            None,
            r"'c' in data.evaluation alone. data.source: a, b; data.evaluation: a, b, c",
        ),
        (["a", "b", "c"], ["a", "b"], None, r"'c' in data.source alone. data.source: a, b, c; data.evaluation: a, b\."),
        (["a", "b"], ["a", "b"], ["a", "x"], r"'b' in data.source alone. data.classes: a, x; data.source: a, b"),
        (["a", "b"], ["a", "b"], ["a", "b", "x"], r"'x' in data.classes alone"),
        (["a", "b", ""], ["a", "b", "c"], ["a", "b", "d"], r"'c' in data.evaluation alone. data.classes: a, b, d"),
        (["a", "b"], ["a", "b", ""], None, "2 of 12 samples have no label"),
    ],
)
def test_classes_that_differ_are_told_with_both_lists(pool, labelled, classes, message, tmp_path):
    for number, (top, names) in enumerate((("pool", pool), ("few", labelled))):
        for place, name in enumerate(names):
            fill(tmp_path / top / name, 2 if not name else 5, 10 * number + place)
    data = Data(source=f"folder:{tmp_path / 'pool'}", evaluation=f"folder:{tmp_path / 'few'}", classes=classes)
    with pytest.raises(UserError, match=message):
        load_source(data)


def test_data_classes_orders_classes_and_may_name_more_than_the_labelled_set_has(photos, few):
    data = Data(source=f"folder:{photos}", evaluation=f"folder:{few}", classes=["c", "z", "b", "a"])
    raw = load_source(data)
    assert raw.classes == ["c", "z", "b", "a"]
    assert sorted({*raw.parts["val"].labels.tolist(), *raw.parts["test"].labels.tolist()}) == [0, 2, 3]
    assert any("data.evaluation has no sample of 'z'" in one for one in raw.warnings)
    alone = load_source(Data(source=f"folder:{few}", classes=["c", "b", "a"]))
    assert np.bincount(alone.parts["train"].labels).tolist() == [10, 10, 11]


def test_errors_of_the_labelled_set_name_its_key(photos):
    with pytest.raises(UserError, match=r"^data.evaluation: folder:gone: no such folder"):
        load_source(Data(source=f"folder:{photos}", evaluation="folder:gone"))
    with pytest.raises(UserError, match=r"^data.evaluation: 'foldr:x' is not known. Did you mean 'folder:<path>'"):
        load_source(Data(source=f"folder:{photos}", evaluation="foldr:x"))


def test_sizes_of_pool_and_labelled_set_that_differ(photos, tmp_path):
    for label in range(2):
        fill(tmp_path / "few" / str(label), 3, label + 50, (12, 20))
    with pytest.raises(UserError, match=r"images of 20x12 pixels, those of data.source have 9x9; set data.resize"):
        load_source(Data(source=f"folder:{photos}", evaluation=f"folder:{tmp_path / 'few'}"))


def test_images_beside_class_folders_have_no_label(few):
    fill(few, 6, 90)
    raw = load_folder(str(few), Data())
    assert (raw.classes, raw.unlabelled()) == (["a", "b", "c"], 6)
    assert raw.warnings == ["6 images lie beside class folders, such as 00.png: they have no label"]


def test_each_split_is_labelled_or_not_by_itself(photos, few, tmp_path):
    photos.rename(tmp_path / "all")
    (tmp_path / "root").mkdir()
    (tmp_path / "all").rename(tmp_path / "root/train")
    few.rename(tmp_path / "root/validation")
    fill(tmp_path / "root/test", 4, 70)
    raw = load_folder(str(tmp_path / "root"), Data())
    assert raw.classes == ["a", "b", "c"]
    assert {name: (part.labels >= 0).sum() for name, part in raw.parts.items()} == {"train": 0, "val": 31, "test": 0}


def test_a_single_folder_is_no_class_unless_it_is_named_as_one(photos):
    inner = photos / "2023"
    fill(inner, 5, 80)
    for image in photos.glob("*.png"):
        image.unlink()
    raw = load_folder(str(photos), Data())
    assert (raw.classes, raw.unlabelled()) == ([], 5)
    assert "2023 is the only folder: its images have no label" in raw.warnings[0]
    assert load_folder(str(photos), Data(classes=["2023", "2024"])).classes == ["2023"]


@pytest.mark.parametrize("given", [None, [-1] * 6 + [0, 1, 4] * 4 + [-1] * 2])
def test_an_archive_with_few_labels_or_none(tmp_path, given):
    content = {"train_images": images(20, 0)} | ({} if given is None else {"train_labels": np.array(given)})
    np.savez(tmp_path / "x.npz", **content)
    data = Data(source=f"npz:{tmp_path / 'x.npz'}", classes=["x", "y"] if given is None else None)
    raw = load_source(data)
    assert raw.classes == (["x", "y"] if given is None else ["0", "1", "4"])
    assert raw.unlabelled() == (20 if given is None else 8)


def test_minus_one_and_one_are_not_two_classes(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=images(20, 0), train_labels=np.arange(20) % 2 * 2 - 1)
    with pytest.raises(UserError, match=r"found only the class '1'; at least two are needed \(the label −1 is none\)"):
        prepare(Data(source=f"npz:{tmp_path / 'x.npz'}"), tmp_path / "data")


def test_splits_keep_the_share_of_each_class_and_of_what_has_none():
    raw = made(["a", "b"], [0] * 20 + [1] * 20 + [-1] * 60)
    found, counts = assign(raw, Data(test=0.2, val=0.25))
    assert np.bincount(found["test"].labels + 1).tolist() == [12, 4, 4]
    assert np.bincount(found["val"].labels + 1).tolist() == [12, 4, 4]
    assert counts["contradictory_train"] == 0


def test_a_content_with_and_without_label_contradicts_nothing_and_a_class_may_be_absent():
    contents = np.arange(30, dtype=np.uint8).reshape(-1, 1, 1, 1)
    contents[20] = contents[0]
    raw = Raw({"train": Part(contents, np.array([0] * 10 + [1] * 10 + [-1] * 10))}, ["a", "b", "c"])
    _, counts = assign(raw, Data(test=0.1, val=0.1))
    assert counts["contradictory_train"] == 0


@pytest.mark.parametrize("key", ["noise", "imbalance"])
def test_labels_that_are_not_there_are_not_altered(photos, tmp_path, key):
    data = Data(source=f"folder:{photos}", classes=["a", "b"], **{key: 0.5 if key == "noise" else 2.0})
    with pytest.raises(UserError, match=rf"data.{key}: .*22 of 22 training samples have no label"):
        prepare(data, tmp_path / "data")


def test_additions_bring_labels_to_a_pool_without(photos, tmp_path):
    for number, image in enumerate(images(2, 60)):
        folder = tmp_path / f"additions/{'ab'[number]}"
        folder.mkdir(parents=True)
        Image.fromarray(image).save(folder / f"{content_id(image[None])}.png")
    additions = Additions(folder=str(tmp_path / "additions"), digest=digest(listed(tmp_path / "additions")))
    meta = prepare(Data(source=f"folder:{photos}", classes=["a", "b"], additions=additions), tmp_path / "data")
    assert meta["labelled"] == {"train": 2, "val": 0, "test": 0}
    assert sorted(read_array(tmp_path / "data/train/labels.npy")[-2:]) == [0, 1]


def test_transfer_needs_labels(photos, few, tmp_path):
    data = Data(source=f"folder:{few}")
    prepare(data, tmp_path / "data")
    for source, message in ((f"folder:{photos}", "transfer.source.*no label"), (f"folder:{few}", None)):
        if message:
            with pytest.raises(UserError, match=message):
                prepare_transfer(Transfer(source=source), data, tmp_path / "data", tmp_path / "out")
        else:
            assert "labelled" not in prepare_transfer(
                Transfer(source=source), data, tmp_path / "data", tmp_path / "out"
            )

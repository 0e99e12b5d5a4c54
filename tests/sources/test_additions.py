"""Samples that came after the source: at the end of train alone, by content id, and with no say in what a teacher is told."""

import filecmp
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from stages.transfer.__main__ import prepare_transfer
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.images.files import content_id
from tuition.params import Additions, Data
from tuition.params.teacher import teacher_settings
from tuition.sources.additions import digest, listed
from tuition.sources.splits import write_splits as prepare


def put(folder: Path, image: np.ndarray, name: str) -> str:
    """Write an image (1, H, W) as a sample of the class `name`; returns its id."""
    id = content_id(image)
    (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[0]).save(folder / name / f"{id}.png")
    return id


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)


def data(folder: Path) -> Data:
    return Data(additions=Additions(folder=str(folder), digest=digest(listed(folder))))


@pytest.fixture
def five(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path / "additions"
    return folder, {put(folder, image, str(i % 3)): image for i, image in enumerate(drawn(5))}


def test_they_follow_the_source_in_train_by_id_and_val_and_test_stay_to_the_byte(five, prepared, tmp_path):
    folder, images = five
    meta = prepare(data(folder), tmp_path / "data")
    for split in ("val", "test"):
        for name in ("images.npy", "labels.npy", "ids.npy", "meta.json"):
            assert filecmp.cmp(prepared / split / name, tmp_path / "data" / split / name, shallow=False)
    new, old = (
        {n: read_array(at / f"train/{n}.npy") for n in ("images", "labels", "ids")}
        for at in (tmp_path / "data", prepared)
    )
    assert all(np.array_equal(new[name][:3600], old[name]) for name in new)
    assert [id.decode() for id in new["ids"][3600:]] == sorted(images)
    for image, label, id in zip(new["images"][3600:], new["labels"][3600:], new["ids"][3600:], strict=True):
        assert np.array_equal(image, images[id.decode()])
        assert (folder / str(label) / f"{id.decode()}.png").exists()
    assert meta["splits"] == {"train": 3605, "val": 400, "test": 1000}
    assert read_json(tmp_path / "data/train/meta.json")["additions"] == 5


def test_what_the_source_holds_is_left_out_and_counted(prepared, tmp_path):
    folder = tmp_path / "additions"
    put(folder, drawn(1)[0], "4")
    for split, number in (("train", 3), ("val", 2), ("test", 1)):
        for image, label in list(
            zip(*(read_array(prepared / split / f"{n}.npy") for n in ("images", "labels")), strict=True)
        )[:number]:
            put(folder, image, str(label))
    meta = prepare(data(folder), tmp_path / "data")
    assert meta["splits"]["train"] == 3601
    counted = {key: value for key, value in meta["duplicates"].items() if key.startswith("addition")}
    assert counted == {"addition_in_test": 1, "addition_in_val": 2, "addition_in_train": 3}


def test_the_mean_and_so_the_fingerprint_of_a_checkpoint_stay(five, prepared, tmp_path):
    from tuition.models import build
    from tuition.teachers import fingerprint, load_teacher

    folder, _ = five
    prepare(data(folder), tmp_path / "data")
    state = build("resnet8", channels=1, classes=10, size=(28, 28)).state_dict()
    save_file({key: value.numpy() for key, value in state.items()}, tmp_path / "mine.safetensors")
    settings = teacher_settings(arch="resnet8", weights=str(tmp_path / "mine.safetensors"))
    marks = set()
    for at in (prepared, tmp_path / "data"):
        facts = read_json(at / "meta.json") | read_json(at / "train/meta.json")
        marks.add(fingerprint(load_teacher(settings, facts).description))
    assert len(marks) == 1


def test_noise_and_imbalance_are_of_the_source_alone(five, tmp_path):
    folder, _ = five
    meta = prepare(data(folder).model_copy(update={"noise": 0.5, "imbalance": 3.0}), tmp_path / "data")
    labels, ids = (read_array(tmp_path / f"data/train/{name}.npy") for name in ("labels", "ids"))
    assert len(labels) == sum(meta["altered"]["classes_after"]) + 5
    for label, id in zip(labels[-5:], ids[-5:], strict=True):
        assert (folder / str(label) / f"{id.decode()}.png").exists()


def test_a_folder_that_is_not_as_the_digest_says_is_refused(five, tmp_path):
    folder, _ = five
    asked = data(folder)
    put(folder, drawn(1, seed=9)[0], "7")
    with pytest.raises(
        UserError, match=r"additions/ holds 6 samples with the digest .*, params.yaml says .*dvc checkout"
    ):
        prepare(asked, tmp_path / "data")
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="holds 0 samples"):
        prepare(asked, tmp_path / "data")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "0/holiday.jpg").write_bytes(b"x"), "holiday.jpg: not a sample"),
        (lambda folder: put(folder, drawn(1)[0], "dragon"), "additions/dragon: no class of the source; valid: 0, 1"),
        (lambda folder: next(folder.glob("0/*.png")).write_bytes(b"x"), "not an image that Pillow can read"),
        (lambda folder: Image.fromarray(drawn(1, 8)[0, 0]).save(next(folder.glob("0/*.png"))), "not those of its name"),
        (lambda folder: put(folder, np.zeros((1, 9, 9), np.uint8), "0"), r"differ in size|has images \(1, 9, 9\)"),
    ],
)
def test_what_is_wrong_in_the_folder_is_named(five, tmp_path, spoil, said):
    folder, _ = five
    spoil(folder)
    with pytest.raises(UserError, match=said):
        prepare(data(folder), tmp_path / "data")


def test_hidden_files_are_none(five, tmp_path):
    folder, _ = five
    before = digest(listed(folder))
    (folder / "0/.left.png.x2").write_bytes(b"half")
    (folder / ".DS_Store").write_bytes(b"x")
    assert digest(listed(folder)) == before


def test_the_data_of_transfer_has_none(five, tmp_path):
    from tuition.params import Transfer

    folder, _ = five
    own = data(folder)
    prepare(own, tmp_path / "data")
    assert (
        prepare_transfer(Transfer(source="mnist5k"), own, tmp_path / "data", tmp_path / "other")["splits"]["train"]
        == 3600
    )

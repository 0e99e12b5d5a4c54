"""The whole stage: the files it writes, that they are the same each time, and how it refuses."""

import csv
import filecmp
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.prepare.__main__ import main
from tuition.errors import UserError
from tuition.files import digest, read_array, read_json
from tuition.inputs.images.files import content_id
from tuition.params import Data
from tuition.sources.splits import write_splits as prepare

REPOSITORY = Path(__file__).parents[3]


def same_folder(a: Path, b: Path) -> bool:
    files = sorted(f.relative_to(a) for f in a.rglob("*") if f.is_file())
    return files == sorted(f.relative_to(b) for f in b.rglob("*") if f.is_file()) and all(
        filecmp.cmp(a / f, b / f, shallow=False) for f in files
    )


def test_the_digits_are_written_as_every_stage_expects(prepared):
    meta = read_json(prepared / "meta.json")
    assert meta["splits"] == {"train": 3600, "val": 400, "test": 1000}
    assert (meta["channels"], meta["height"], meta["width"]) == (1, 28, 28)
    assert meta["classes"] == list("0123456789")
    off = {"noise", "imbalance", "additions", "classes", "columns", "evaluation"}
    assert meta["data"] == Data().model_dump(exclude={"watch", "watch_evaluation", *off})
    seen: set[bytes] = set()
    for split, count in meta["splits"].items():
        folder = prepared / split
        images, labels, ids = (read_array(folder / f"{name}.npy") for name in ("images", "labels", "ids"))
        assert (images.shape, images.dtype) == ((count, 1, 28, 28), np.uint8)
        assert (labels.shape, labels.dtype) == ((count,), np.int64)
        assert (ids.shape, ids.dtype) == ((count,), np.dtype("S64"))
        assert np.bincount(labels).tolist() == [count // 10] * 10
        assert ids[5].decode() == content_id(images[5])
        assert not seen & set(ids.tolist())
        seen |= set(ids.tolist())
        if split != "train":
            assert read_json(folder / "meta.json") == {"n": count, "digest": digest(images, labels, ids)}
    train = read_json(prepared / "train/meta.json")
    scaled = read_array(prepared / "train/images.npy") / 255
    assert train["mean"] == pytest.approx([scaled.mean()])
    assert train["std"] == pytest.approx([scaled.std()])
    assert train["classes"] == meta["classes"]
    assert (prepared / "rejected.csv").read_text() == "file,reason\n"


def test_images_keep_their_labels(digits, prepared):
    part = digits.parts["train"]
    label_of = {content_id(image): label for image, label in zip(part.images, part.labels, strict=True)}
    for split in ("train", "val", "test"):
        ids, labels = read_array(prepared / split / "ids.npy"), read_array(prepared / split / "labels.npy")
        assert [label_of[i.decode()] for i in ids] == labels.tolist()


def test_the_stage_reads_params_yaml_and_writes_the_same_bytes_without_torch(tmp_path, prepared):
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    code = "import sys, stages.prepare.__main__ as p; p.main([]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=_path(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "mnist5k: 3600 train, 400 val, 1000 test; 10 classes, 1x28x28; 0 unreadable files and 0 duplicates across splits "
        "left out",
        "False",
    ]
    assert same_folder(tmp_path / "data", prepared)


def test_an_error_is_one_line(tmp_path):
    text = (REPOSITORY / "params.yaml").read_text().replace("source: mnist5k ", "source: folder:gone ")
    (tmp_path / "params.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "stages.prepare"], cwd=tmp_path, env=_path(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: data.source: folder:gone: no such folder"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def _path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@pytest.mark.parametrize("source", ["mnist", "mnist5k:x", "folder", "folder:", "npz", "tensorflow:MNIST", ""])
def test_unknown_sources_are_answered_with_the_valid_forms(tmp_path, source):
    valid = "csv:<file>, folder:<path>, hf:<folder>, jsonl:<file>, mnist5k, npz:<path>, parquet:<file>, torchvision:<Dataset>"
    with pytest.raises(UserError, match=f"data.source: .*{valid}"):
        prepare(Data(source=source), tmp_path)


def test_digits_resize_and_become_colour(tmp_path):
    meta = prepare(Data(resize=32, channels=3), tmp_path)
    images = read_array(tmp_path / "val/images.npy")
    assert (meta["channels"], meta["height"], meta["width"]) == (3, 32, 32)
    assert images.shape[1:] == (3, 32, 32)
    assert np.array_equal(images[:, 0], images[:, 2])
    assert len(read_json(tmp_path / "train/meta.json")["mean"]) == 3


def test_arguments_are_refused():
    with pytest.raises(UserError, match="expected no arguments"):
        main(["400"])


def test_rejected_names_with_commas_stay_readable(tmp_path):
    from tuition.tables import write_rejected

    write_rejected(tmp_path / "r.csv", [("a/x, y.png", 'bad "header"')])
    with (tmp_path / "r.csv").open() as file:
        assert list(csv.reader(file)) == [["file", "reason"], ["a/x, y.png", 'bad "header"']]

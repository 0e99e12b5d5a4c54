import csv

import numpy as np
import pytest
from PIL import Image

from tuition.ledger.calls import Call
from tuition.ledger.keys import Request
from tuition.origins import Origins, name, named, read_origins, write_origins
from tuition.params import Data
from tuition.params.teacher import teacher_settings
from tuition.purchase.tally import Tally
from tuition.sources.splits import write_splits
from tuition.workspace import Workspace


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_sample_of_a_folder_has_its_file(here):
    rng = np.random.default_rng(0)
    for label, of in enumerate(("cat", "a, dog")):
        (here / "photos" / of / "deep").mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (9, 8 + label, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(here / "photos" / of / "deep" / f"{number}.png")
    (here / "photos" / "cat" / "broken.png").write_bytes(b"no image")
    write_splits(Data(source="folder:photos", resize=8, max_unreadable=0.5), Workspace().data.path)
    seen = []
    for split in ("train", "val", "test"):
        ids = np.load(Workspace().split(split).ids)
        labels = np.load(Workspace().split(split).labels)
        table = list(read_origins(Workspace().split(split).files))
        assert [id for id, _ in table] == [id.decode() for id in ids]
        assert all(
            (file.split("/")[0] == "cat") == (label == 1) for (_, (file, _)), label in zip(table, labels, strict=True)
        )
        seen += [file for _, (file, row) in table if row is None]
    assert sorted(seen) == sorted(f"{of}/deep/{number}.png" for of in ("cat", "a, dog") for number in range(20))
    first, (file, _) = next(read_origins(Workspace().split("test").files))
    assert name(first) == file
    assert named(["f" * 64, first]) == {first: file}
    assert name("f" * 64) == "sample ffffffffffffffff"


def test_every_sample_of_an_array_has_its_row(here):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 30), ("test", 10)):
        arrays |= {f"{split}_images": rng.integers(0, 256, (count, 9, 9), dtype=np.uint8)}
        arrays |= {f"{split}_labels": np.arange(count) % 2}
    np.savez(here / "a.npz", **arrays)
    write_splits(Data(source="npz:a.npz"), Workspace().data.path)
    for split, part in (("train", "train"), ("val", "train"), ("test", "test")):
        images = np.load(Workspace().split(split).images)
        with Workspace().split(split).files.open() as file:
            table = list(csv.DictReader(file))
        assert {line["file"] for line in table} == {f"{part}_images"}
        assert np.array_equal(images[:, 0], arrays[f"{part}_images"][[int(line["row"]) for line in table]])


def test_names_of_one_length_stay_names():
    origins = Origins.of_files(["ab", "cd"]) + Origins.of_rows("t", np.array([7]))
    assert [origins.place(index) for index in range(3)] == [("ab", None), ("cd", None), ("t", 7)]
    assert origins[np.array([2, 0])].place(0) == ("t", 7)


def test_a_purchase_that_stops_names_the_file_of_the_answer_that_is_wrong(here):
    ids = np.array(["a" * 64, "b" * 64], dtype="S64")
    write_origins(Workspace().split("train").files, ids, Origins.of_rows("pool.csv", np.array([4, 9])))
    tally = Tally(teacher_settings(kind="python", function="mine:scores", canary=2), 2)
    tally.count([Call(n, Request(id.decode()), "") for n, id in enumerate(ids)], 1, "NaN in logits", first_bad=1)
    assert "1 of 2 answers cannot be used (pool.csv row 9: NaN in logits)" in str(tally.stopped)

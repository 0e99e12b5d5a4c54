"""Noise and imbalance: exact shares, the same each time, and nothing but the training split is touched."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.params import Data
from tuition.sources.alter import alter, flip, long_tail
from tuition.sources.split import Rows
from tuition.sources.splits import write_splits as prepare

DIGESTS = {  # of the default digits, taken before there was noise or imbalance
    "meta.json": "abdd8e59680843ad4bb8cc55cb85218077dfadb8770ade1e1fd337741e235d5e",
    "train/images.npy": "88758ca030c65a20f9a71df4bdb9c0cce356bba84f7886c0ad14d096758c6648",
    "train/labels.npy": "ef60c2eeac4ca4255f6dc8c2cfece8352d14e49f2d9d794d9ef94b1962a4f36f",
    "train/ids.npy": "27918232b4b04b7297cf28cd2e01b83775083a2a1dfeebcc69a3a0729512410a",
    "train/meta.json": "093e8315775d2390621821f0afb8cd0707c70bc1398f62c317e809b2273bc628",
    "val/images.npy": "30264589b4151c186892b240a85afcf9a9c85d8edeb6edeb734111a6de90e7e2",
    "val/labels.npy": "272ef2e6f22c4dae34776251ac7bc55bd3a799eb7ebc4b84dba6a4999f20bb41",
    "test/labels.npy": "dbedcc90f6a6a0684902a0ff704e18a2de6fa912f41cb083c8d534c637c1a2f6",
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(labels: list[int]) -> Rows:
    ids = np.array([hashlib.sha256(str(i).encode()).hexdigest() for i in range(len(labels))], "S64")
    return Rows("train", np.arange(len(labels)), ids, np.array(labels, np.int64))


def files(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_off_changes_no_byte(prepared, tmp_path):
    prepare(Data(noise=0.0, imbalance=1.0), tmp_path / "again")
    assert files(tmp_path / "again") == files(prepared)
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files(prepared).items()}
    assert {name: found[name] for name in DIGESTS} == DIGESTS
    same = rows([0, 1, 1, 0])
    assert alter(same, ["a", "b"], Data()) == (same, {})


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_noise_replaces_exactly_its_share_of_training_labels_and_nothing_else(prepared, tmp_path, share):
    meta = prepare(Data(noise=share), tmp_path / "noisy")
    clean, noisy = files(prepared), files(tmp_path / "noisy")
    assert clean.keys() == noisy.keys()
    changed = {name for name in clean if clean[name] != noisy[name]}
    assert changed == {"meta.json", "train/meta.json", "train/labels.npy"}
    before, after = read_array(prepared / "train/labels.npy"), read_array(tmp_path / "noisy/train/labels.npy")
    assert (before != after).sum() == round(share * 3600)
    assert set(np.unique(after)) == set(range(10))
    recorded = read_json(tmp_path / "noisy/train/meta.json")["altered"]
    assert recorded == meta["altered"]
    assert recorded["flipped"] == round(share * 3600)
    assert recorded["classes_before"] == recorded["classes_after"] == [360] * 10
    assert recorded["labels_after"] == np.bincount(after, minlength=10).tolist()
    assert (meta["data"]["noise"], meta["data"]["imbalance"]) == (share, 1.0)


def test_noise_is_uniform_over_the_other_classes():
    labels = np.repeat(np.arange(5), 20_000)
    noisy = flip(labels, 5, 0.5, rng())
    table = np.zeros((5, 5))
    np.add.at(table, (labels, noisy), 1)
    off = table[~np.eye(5, dtype=bool)]
    expected = 50_000 / 20  # 20 wrong pairs of classes, each as likely
    assert np.abs(off - expected).max() < 5 * np.sqrt(expected)
    assert off.sum() == 50_000


def test_more_noise_flips_the_same_samples_to_the_same_classes():
    labels = np.repeat(np.arange(10), 50)
    little, much = flip(labels, 10, 0.2, rng(3)), flip(labels, 10, 0.6, rng(3))
    hit = little != labels
    assert hit.sum() == 100
    assert (much[hit] == little[hit]).all()
    assert (flip(labels, 10, 0.2, rng(3)) == little).all()
    assert (flip(labels, 10, 0.2, rng(4)) != little).any()


def test_two_classes_swap():
    labels = np.array([0, 1] * 10)
    noisy = flip(labels, 2, 0.5, rng())
    assert ((noisy == 1 - labels).sum(), (noisy == labels).sum()) == (10, 10)


def test_the_tail_by_hand():
    # n_c = 100 · 16^(−c/4): 100, 50, 25, 12.5, 6.25; a half is rounded up
    labels = np.repeat(np.arange(5), 100)
    kept = labels[long_tail(labels, list("abcde"), 16.0, rng())]
    assert np.bincount(kept).tolist() == [100, 50, 25, 13, 6]


def test_the_ratio_holds_where_classes_differ_in_size():
    # 4^(-1/2) = 1/2: the middle class has 30, so the largest may have 60; the third then has 15
    labels = np.repeat(np.arange(3), [100, 30, 90])
    kept = labels[long_tail(labels, list("abc"), 4.0, rng())]
    assert np.bincount(kept).tolist() == [60, 30, 15]


def test_a_longer_tail_is_part_of_a_shorter_one():
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 100))
    short, long = (long_tail(labels, list("0123456789"), ratio, rng(7)) for ratio in (10.0, 50.0))
    assert (short | ~long).all()
    assert short.sum() > long.sum()
    assert (long_tail(labels, list("0123456789"), 50.0, rng(7)) == long).all()
    assert (long_tail(labels, list("0123456789"), 50.0, rng(8)) != long).any()


def test_imbalance_and_noise_together_leave_val_and_test(prepared, tmp_path):
    meta = prepare(Data(imbalance=10.0, noise=0.4), tmp_path / "hard")
    clean, hard = files(prepared), files(tmp_path / "hard")
    assert {name: text for name, text in hard.items() if name.startswith(("val/", "test/"))} == {
        name: text for name, text in clean.items() if name.startswith(("val/", "test/"))
    }
    ids, known = read_array(tmp_path / "hard/train/ids.npy"), read_array(prepared / "train/ids.npy")
    truth = dict(zip(known.tolist(), read_array(prepared / "train/labels.npy").tolist(), strict=True))
    true = np.array([truth[i] for i in ids.tolist()])  # the same ids: nothing owned is paid again
    counts = [round(360 * 10 ** (-c / 9)) for c in range(10)]
    assert np.bincount(true).tolist() == counts == meta["altered"]["classes_after"]
    assert meta["splits"]["train"] == len(ids) == sum(counts)
    assert (read_array(tmp_path / "hard/train/labels.npy") != true).sum() == round(0.4 * sum(counts))
    again = prepare(Data(imbalance=10.0, noise=0.4), tmp_path / "twice")
    assert files(tmp_path / "twice") == hard
    assert again == meta


def test_a_class_that_would_end_empty_is_named():
    labels = np.repeat(np.arange(3), 5)
    with pytest.raises(UserError, match=r"data.imbalance: 50 leaves class 'c' no training sample.*valid: 1 to 10"):
        long_tail(labels, list("abc"), 50.0, rng())
    assert long_tail(labels, list("abc"), 10.0, rng()).sum() == 5 + 2 + 1

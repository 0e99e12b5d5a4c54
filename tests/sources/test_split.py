"""Splits: the same share of each class, nothing in two splits, duplicates counted."""

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.params import Data
from tuition.sources.raw import Part, Raw, to_classes
from tuition.sources.split import Rows, assign, draw


def part(contents: list[int], labels: list[int]) -> Part:
    """Images of one pixel whose value is their content."""
    return Part(np.array(contents, np.uint8).reshape(-1, 1, 1, 1), np.array(labels, np.int64))


def contents(raw: Raw, rows: Rows) -> list[int]:
    return raw.parts[rows.part].images[rows.rows].ravel().tolist()


def pool(labels: list[int]) -> Rows:
    return Rows(
        "train", np.arange(len(labels)), np.array([str(i) for i in range(len(labels))], "S64"), np.array(labels)
    )


def test_draw_is_stratified_and_exact():
    labels = [0] * 50 + [1] * 33 + [2] * 17
    rest, drawn = draw(pool(labels), 20, np.random.default_rng(0))
    assert np.bincount(drawn.labels).tolist() == [10, 7, 3]
    assert sorted([*rest.rows, *drawn.rows]) == list(range(100))
    assert drawn.rows.tolist() == sorted(drawn.rows)


def test_draw_never_takes_the_last_of_a_class():
    rest, drawn = draw(pool([0, 1, 1, 2, 2, 2]), 5, np.random.default_rng(0))
    assert set(rest.labels) == {0, 1, 2}
    assert len(drawn.rows) <= 3


def test_test_is_a_share_of_all_and_val_of_the_rest():
    raw = Raw({"train": part(list(range(200)), [0, 1] * 100)}, ["a", "b"])
    found, counts = assign(raw, Data(test=0.2, val=0.25))
    assert {name: len(rows.ids) for name, rows in found.items()} == {"train": 120, "val": 40, "test": 40}
    assert not any(counts.values())
    assert sorted(content for rows in found.values() for content in contents(raw, rows)) == list(range(200))


def test_a_split_that_the_source_has_is_kept():
    raw = Raw(
        {"train": part([1, 2, 3, 4], [0, 1] * 2), "val": part([5], [1]), "test": part([7, 8], [0, 1])}, ["a", "b"]
    )
    found, _ = assign(raw, Data(val=0.5, test=0.5))
    assert {name: contents(raw, rows) for name, rows in found.items()} == {
        "train": [1, 2, 3, 4],
        "val": [5],
        "test": [7, 8],
    }


def test_duplicates_go_to_test_then_val_and_are_counted():
    raw = Raw(
        {
            "train": part([1, 1, 2, 3, 4, 5, 6, 6], [0, 1, 0, 1, 0, 1, 1, 1]),  # 1: two labels, 6: twice the same
            "val": part([3, 4, 9, 9], [1, 0, 0, 0]),
            "test": part([4, 5, 10, 10], [0, 1, 0, 0]),
        },
        ["a", "b"],
    )
    found, counts = assign(raw, Data())
    assert contents(raw, found["test"]) == [4, 5, 10, 10]
    assert contents(raw, found["val"]) == [3, 9, 9]
    assert contents(raw, found["train"]) == [1, 1, 2, 6, 6]
    assert counts == {
        "train_in_test": 2,
        "val_in_test": 1,
        "train_in_val": 1,
        "within_train": 2,
        "within_val": 1,
        "within_test": 1,
        "contradictory_train": 2,
    }


def test_a_drawn_split_shares_nothing_with_train_whatever_the_seed():
    raw = Raw({"train": part([i % 40 for i in range(200)], [i % 2 for i in range(200)])}, ["a", "b"])
    for seed in range(5):
        found, counts = assign(raw, Data(test=0.05, val=0.05, seed=seed))
        sets = {name: set(contents(raw, rows)) for name, rows in found.items()}
        assert not sets["test"] & sets["train"]
        assert not sets["val"] & sets["train"]
        assert not sets["val"] & sets["test"]
        assert counts["train_in_test"] > 0
        assert sum(len(rows.ids) for rows in found.values()) == 200 - counts["train_in_test"] - counts["train_in_val"]


def test_a_class_that_train_loses_is_named():
    raw = Raw({"train": part([1, 2, 3, 4], [0, 0, 1, 2]), "test": part([3, 9], [1, 0])}, ["a", "b", "c"])
    with pytest.raises(UserError, match=r"train has no samples of 1 classes \('b'\)"):
        assign(raw, Data(val=0.4))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_share_of_nothing_is_refused(split):
    raw = Raw({"train": part(list(range(40)), [0, 1] * 20)}, ["a", "b"])
    with pytest.raises(UserError, match=rf"the {split} split is empty; raise data.{split}"):
        assign(raw, Data(**{split: 0.0}))


def test_the_seed_decides_what_is_drawn():
    raw = Raw({"train": part(list(range(200)), [0, 1] * 100)}, ["a", "b"])
    first, again, other = (contents(raw, assign(raw, Data(seed=seed))[0]["test"]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_one_class_is_not_enough():
    raw = Raw({"train": part([1, 2, 3, 4], [0] * 4), "test": part([9], [0])}, ["only"])
    with pytest.raises(UserError, match="found only the class 'only'"):
        assign(raw, Data(val=0.4))


def test_a_given_split_that_is_a_copy_of_test_ends_empty():
    raw = Raw({"train": part([1, 2], [0, 1]), "val": part([7], [0]), "test": part([7], [0])}, ["a", "b"])
    with pytest.raises(UserError, match="the val split is empty; give it samples of its own"):
        assign(raw, Data())


def test_labels_are_mapped_in_order():
    mapped, names = to_classes("x", {"train": np.array([7, 3, 7, 5]), "test": np.array([5])}, None)
    assert mapped["train"].tolist() == [2, 0, 2, 1]
    assert mapped["test"].tolist() == [1]
    assert names == ["3", "5", "7"]
    with pytest.raises(UserError, match="x: test has label 9; valid are the labels of train"):
        to_classes("x", {"train": np.array([1]), "test": np.array([9])}, None)
    with pytest.raises(UserError, match=r"x: train has label 2; valid are 0\.\.1, one for each of its 2 names"):
        to_classes("x", {"train": np.array([0, 2])}, ["a", "b"])

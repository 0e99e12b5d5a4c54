"""Comparison sets: zero-sum, distinct, covering, and what each strategy promises."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import PAID, stage, write_params

from stages.arrays import read_array, read_json
from stages.compare import sets
from stages.errors import UserError

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(10), [46, 6, 6, 6, 6, 6, 6, 6, 6, 6])
LOGITS = (10 * np.eye(10)[LABELS] + RNG.normal(size=(100, 10))).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["random", "balanced", "nearest"]), st.integers(2, 7), st.integers(1, 3000), st.integers(0, 99))
def test_every_set_is_zero_sum_over_distinct_members_and_repeatable(strategy, k, limit, seed):
    members, weights = sets.draw(strategy, k, limit, seed, LOGITS, LABELS)
    assert members.dtype == np.int32
    assert weights.dtype == np.float32
    assert members.shape == weights.shape == (len(members), k)
    assert 0 < len(members) <= limit
    assert members.min() >= 0
    assert members.max() < 100
    np.testing.assert_allclose(weights.astype(np.float64).sum(1), 0, atol=1e-6)
    assert all(len(set(row)) == k for row in members.tolist())
    assert np.array_equal(members, sets.draw(strategy, k, limit, seed, LOGITS, LABELS)[0])


def test_groups_are_those_of_the_paper():
    assert sets.group_weights(2).tolist() == [1, -1]
    assert sets.group_weights(3).tolist() == [0.5, 0.5, -1]
    assert sets.group_weights(4).tolist() == [0.5, 0.5, -0.5, -0.5]


def test_random_pairs_are_all_pairs_where_they_fit_and_groups_never_repeat():
    members, _ = sets.draw("random", 2, 100_000, 0, LOGITS, LABELS)
    assert len({tuple(sorted(pair)) for pair in members.tolist()}) == len(members) == comb(100, 2)
    groups, _ = sets.draw("random", 3, 5000, 0, LOGITS, LABELS)
    assert len({(frozenset(g[:2]), g[2]) for g in groups.tolist()}) == len(groups) == 5000


def test_balanced_sees_rare_classes_as_often_as_common_ones():
    share = [
        np.bincount(LABELS[sets.draw(name, 3, 4000, 0, LOGITS, LABELS)[0].ravel()], minlength=10) / 12_000
        for name in ("random", "balanced")
    ]
    assert abs(share[0][0] - 0.46) < 0.03
    assert abs(share[1] - 0.1).max() < 0.02


def test_nearest_compares_each_sample_with_those_that_the_teacher_holds_closest():
    members, _ = sets.draw("nearest", 2, 100, 0, LOGITS, LABELS)
    distance = np.linalg.norm(LOGITS[:, None] - LOGITS[None], axis=2) + np.diag(np.full(100, np.inf))
    assert members.tolist() == [[i, int(distance[i].argmin())] for i in range(100)]


def test_bad_input_names_what_is_valid():
    with pytest.raises(UserError, match=r"'hardest' is not known.*balanced, in-batch, nearest, random"):
        sets.draw("hardest", 2, 10, 0, LOGITS, LABELS)
    with pytest.raises(UserError, match=r"k = 101.*only 100"):
        sets.draw("random", 101, 10, 0, LOGITS, LABELS)


def test_statistics_are_right_on_a_case_by_hand():
    members, weights = np.array([[0, 1], [1, 2]]), np.array([[1.0, -1.0], [1.0, -1.0]])
    found = sets.statistics(members, weights, np.array([[0.0], [3.0], [7.0], [9.0]]), np.array([0, 0, 1, 1]))
    assert found == {
        "comparisons": 2, "samples_used": 3, "uses_min": 0, "uses_mean": 1.0, "uses_max": 2,
        "same_class_share": 0.5, "teacher_difference_rms": round(np.sqrt((9 + 16) / 2), 4),
    }  # fmt: skip


def test_the_stage_writes_a_folder_a_method(paid):
    write_params(paid, {
        **PAID, "study.methods": ["ce", "ckd-mse", "ckd-kl"],
        "compare.sets": {"ckd-mse": {"strategy": "in-batch", "k": 2}, "ckd-kl": {"strategy": "random", "k": 3}},
        "compare.limit": 500,
    })  # fmt: skip
    assert stage("teach", 40, cwd=paid).returncode == 0
    ran = stage("compare", 40, cwd=paid)
    assert ran.returncode == 0, ran.stderr
    folder = paid / "comparisons/40"
    assert read_json(folder / "ce/meta.json") == {"strategy": "none"}
    assert read_json(folder / "ckd-mse/meta.json") == {"strategy": "in-batch", "k": 2}
    assert read_array(folder / "ckd-kl/members.npy").shape == (500, 3)
    assert read_json(folder / "ckd-kl/meta.json")["statistics"]["samples_used"] == 40

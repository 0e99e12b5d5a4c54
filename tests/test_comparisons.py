"""Comparison sets: zero-sum, distinct, covering, and what each strategy promises."""

import hashlib
import subprocess
import sys
from itertools import permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import PAID, ROOT, bill, stage, write_params

from tuition import comparisons as sets
from tuition.errors import UserError
from tuition.files import read_array, read_json

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


WEIGHTS = [[1.0, -2.0, 1.0], [0.7, 0.3, -1.0], [0.5, 0.5, 0.5, -1.5], [2.0, -2.0]]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("strategy", ["random", "balanced", "nearest"])
def test_any_zero_sum_weights(strategy, weights):
    given = sets.checked_weights("here", len(weights), weights)
    members, each = sets.draw(strategy, len(weights), 500, 0, LOGITS, LABELS, given)
    assert np.array_equal(each, np.broadcast_to(np.float32(weights), members.shape))
    assert all(len(set(row)) == len(weights) for row in members.tolist())


@pytest.mark.parametrize("weights", WEIGHTS[:3])
def test_members_are_exchangeable_where_their_weights_are_equal_and_only_there(weights):
    """Of 5 samples with room for all that exist, no two groups have the same sets of members at the same weights; where all
    weights differ the same members do stand in several orders."""
    members, _ = sets.draw("random", len(weights), 10**6, 0, LOGITS[:5], LABELS[:5], np.array(weights))
    groups = [frozenset(zip(weights, row, strict=True)) for row in members.tolist()]
    different = {frozenset(zip(weights, row, strict=True)) for row in permutations(range(5), len(weights))}
    assert set(groups) == different
    assert len(groups) == len(different)
    drawn = [
        sets.draw("random", 3, 10, seed, LOGITS[:5], LABELS[:5], np.array([0.7, 0.3, -1.0]))[0] for seed in range(20)
    ]
    assert any(len({frozenset(row) for row in one.tolist()}) < len(one) for one in drawn)


@pytest.mark.parametrize(
    "weights", [[1.0, -1.0], [1.0, 1.0, -1.0], [1.0, -1.0, 0.0], [float("nan"), 1.0, -1.0], [1.0, -0.5, -0.5001]]
)
def test_weights_that_are_no_comparison_are_refused(weights):
    with pytest.raises(UserError, match=r"compare\.sets\.x\.weights: found \[.*expected k = 3 numbers.*sum to zero"):
        sets.checked_weights("compare.sets.x.weights", 3, weights)


def test_weights_that_sum_to_zero_but_for_rounding_are_taken():
    assert sets.checked_weights("x", 4, [0.333333, 0.333333, 0.333334, -1.0]).tolist()[-1] == -1
    assert np.array_equal(sets.checked_weights("x", 3, None), sets.group_weights(3))


def test_without_logits_only_the_nearest_are_refused():
    """A teacher may give embeddings alone; which groups are random or balanced does not depend on what it says."""
    for strategy in ("random", "balanced"):
        members, weights = sets.draw(strategy, 3, 200, 0, None, LABELS)
        assert np.array_equal(members, sets.draw(strategy, 3, 200, 0, LOGITS, LABELS)[0])
        found = sets.statistics(members, weights, None, LABELS)
        full = sets.statistics(members, weights, LOGITS, LABELS)
        assert found == {key: value for key, value in full.items() if key != "teacher_difference_rms"}
    with pytest.raises(UserError, match=r"'nearest' needs the teacher's logits.*Valid: in-batch, random, balanced"):
        sets.draw("nearest", 2, 10, 0, None, LABELS)


def test_random_pairs_are_all_pairs_where_they_fit_and_groups_never_repeat():
    members, _ = sets.draw("random", 2, 100_000, 0, LOGITS, LABELS)
    assert {tuple(pair) for pair in members.tolist()} == set(permutations(range(100), 2))  # in both orientations
    assert len(members) == 100 * 99
    groups, _ = sets.draw("random", 3, 100_000, 0, LOGITS[:40], LABELS[:40])
    assert len({(frozenset(g[:2]), g[2]) for g in groups.tolist()}) == len(groups) == comb(40, 2) * comb(38, 1)
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
        "comparisons": 2,
        "samples_used": 3,
        "uses_min": 0,
        "uses_mean": 1.0,
        "uses_max": 2,
        "same_class_share": 0.5,
        "teacher_difference_rms": round(np.sqrt((9 + 16) / 2), 4),
    }


def test_same_class_share_is_of_members_on_opposite_sides():
    members, weights = np.array([[0, 1, 2]]), np.array([[1.0, -2.0, 1.0]])
    assert sets.statistics(members, weights, None, np.array([4, 4, 5]))["same_class_share"] == 1
    assert sets.statistics(members, weights, None, np.array([4, 5, 4]))["same_class_share"] == 0


def digest(method):
    return hashlib.sha256((ROOT / f"tuition/methods/{method.replace('-', '_')}.py").read_bytes()).hexdigest()


def test_the_stage_imports_no_torch():
    code = "import sys, stages.compare.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_stage_writes_a_folder_a_method(paid):
    write_params(
        paid,
        {
            **PAID,
            "study.methods": ["ce", "ckd-mse", "ckd-kl", "mine", "other", "ckd-mse+kd"],
            "methods": {
                "ce": {},
                "ckd-mse": {},
                "ckd-kl": {},
                "mine": {"method": "ckd-mse", "labels": "none"},
                "other": {"method": "ckd-kl+kd"},
                "ckd-mse+kd": {},
            },
            "compare.sets": {
                "ckd-mse": {"strategy": "in-batch", "k": 2},
                "ckd-kl": {"strategy": "random", "k": 3},
                "mine": {"strategy": "balanced", "k": 3, "weights": [1.0, -3, 2.0]},
            },
            "compare.limit": 500,
        },
    )
    assert stage("teach", 40, cwd=paid).returncode == 0
    ran = stage("compare", 40, cwd=paid)
    assert ran.returncode == 0, ran.stderr
    folder = paid / "comparisons/40"
    assert read_json(folder / "ce/meta.json") == {"strategy": "none", "method": "ce", "code": digest("ce")}
    in_batch = {"strategy": "in-batch", "k": 2, "weights": [1, -1], "method": "ckd-mse", "code": digest("ckd-mse")}
    assert read_json(folder / "ckd-mse/meta.json") == read_json(folder / "ckd-mse+kd/meta.json") == in_batch
    assert read_array(folder / "ckd-kl/members.npy").shape == (500, 3)
    assert read_json(folder / "ckd-kl/meta.json")["statistics"]["samples_used"] == 40
    assert read_json(folder / "ckd-kl/meta.json") == read_json(folder / "other/meta.json")  # the set of its method
    own = read_json(folder / "mine/meta.json")
    assert (own["strategy"], own["weights"], own["code"]) == ("balanced", [1, -3, 2], digest("ckd-mse"))
    assert not (folder / "mine/weights.npy").exists()  # members, and the weights in meta.json, are the set


def test_weights_of_a_set_are_checked_against_its_k_before_anything_is_paid(paid):
    good = {**PAID, "study.methods": ["ckd-mse"]}
    bad = {**good, "compare.sets": {"ckd-mse": {"strategy": "in-batch", "k": 2, "weights": [1.0, 1.0]}}}
    message = "compare.sets.ckd-mse.weights: found [1.0, 1.0], expected k = 2 numbers"
    write_params(paid, bad)
    ran = stage("teach", 40, cwd=paid)
    assert (ran.returncode, message in ran.stderr, bill(paid)) == (2, True, [])
    write_params(paid, good)
    assert stage("teach", 40, cwd=paid).returncode == 0
    write_params(paid, bad)
    ran = stage("compare", 40, cwd=paid)  # and again where it is run by itself
    assert (ran.returncode, message in ran.stderr) == (2, True)

"""Each loss against an independent float64 NumPy computation, values by hand, its minimum, and where its gradient goes."""

import numpy as np
import pytest
import torch

from stages.compare.sets import group_weights
from stages.errors import UserError
from stages.train.comparisons import difference, difference_mse, in_batch, listed
from stages.train.methods import METHODS, build, load_class

RNG = np.random.default_rng(0)
B, C = 12, 7
S, T = RNG.normal(size=(B, C)) * 3, RNG.normal(size=(B, C)) * 3
Y = RNG.integers(C, size=B)
ONE_HOT = np.eye(C)[Y]


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def kd(a, b, t):
    p = np.exp(log_softmax(b / t))
    return t * t * (p * (log_softmax(b / t) - log_softmax(a / t))).sum(1).mean()


def ce(z):
    return -log_softmax(z)[np.arange(B), Y].mean()


def terms(name, settings, groups=None, student=S, teacher=T, y=Y):
    student, teacher = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (student, teacher))
    method = build(name, settings).double()
    given = method({"logits": student}, {"logits": teacher}, torch.tensor(y), groups)
    sum(given.values()).backward()
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None  # nothing reaches the teacher
    return {key: value.item() for key, value in given.items()}


def groups_of(k, every):
    weights = torch.tensor(group_weights(k))
    return in_batch(B, weights) if every else listed(B // k, weights)


def all_groups(z, k):
    """Every Δ over ordered choices of k distinct samples: (many, C)."""
    from itertools import permutations

    w = group_weights(k)
    return np.stack([w @ z[list(members)] for members in permutations(range(len(z)), k)])


def test_ce():
    assert terms("ce", {})["labels"] == pytest.approx(ce(S), abs=1e-12)


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_kd(t):
    found = terms("kd", {"temperature": t, "weight_ce": 0.3, "weight_kd": 0.6})
    assert found == pytest.approx({"labels": 0.3 * ce(S), "teacher": 0.6 * kd(S, T, t)}, abs=1e-12)
    assert terms("kd", {}, student=T)["teacher"] == pytest.approx(0, abs=1e-12)


def test_kd_by_hand():
    """Two classes, T = 1: teacher (ln 3, 0) says 3/4, student says 1/2: KL = ¾ ln(3/2) + ¼ ln(1/2)."""
    found = terms("kd", {"temperature": 1.0, "weight_kd": 1.0}, student=[[0.0, 0.0]], teacher=[[np.log(3), 0.0]], y=[0])
    assert found["teacher"] == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), abs=1e-12)


def test_kd_at_high_temperature_is_centred_logit_regression():
    """T → ∞: T² KL → ‖centred difference‖² / (2 C) (Hinton 2015, §2.1)."""
    gap = (S - S.mean(1, keepdims=True)) - (T - T.mean(1, keepdims=True))
    found = terms("kd", {"temperature": 1e4, "weight_kd": 1.0})["teacher"]
    assert found == pytest.approx((gap**2).sum(1).mean() / (2 * C), rel=1e-3)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("labels", ["difference", "ce", "none"])
def test_ckd_mse_over_listed_groups(k, labels):
    groups = groups_of(k, every=False)
    w = group_weights(k)
    delta = [np.stack([w @ z[i : i + k] for i in range(0, B // k * k, k)]) for z in (S, T, ONE_HOT)]
    used = B // k * k
    found = terms("ckd-mse", {"labels": labels, "weight_relation": 2.0}, groups, S[:used], T[:used], Y[:used])
    assert found["relation"] == pytest.approx(2 * ((delta[0] - delta[1]) ** 2).mean(), abs=1e-9)
    if labels == "difference":
        assert found["labels"] == pytest.approx(((delta[0] - delta[2]) ** 2).mean(), abs=1e-9)
    assert ("labels" in found) == (labels != "none")


@pytest.mark.parametrize("k", [2, 3, 4])
def test_ckd_mse_within_a_batch_is_the_mean_over_every_group(k):
    """The O(B·C) form against all ordered groups by brute force (methods: §1, fact 2, for any zero-sum weights)."""
    found = terms("ckd-mse", {"labels": "difference"}, groups_of(k, every=True), S[:6], T[:6], Y[:6])
    every = [all_groups(z[:6], k) for z in (S, T, ONE_HOT)]
    groups = in_batch(6, torch.tensor(group_weights(k)))
    assert difference_mse(torch.tensor(S[:6]), torch.tensor(T[:6]), groups).item() == pytest.approx(
        ((every[0] - every[1]) ** 2).mean(), abs=1e-9
    )
    assert found["relation"] == pytest.approx(((every[0] - every[1]) ** 2).mean(), abs=1e-9)
    assert found["labels"] == pytest.approx(((every[0] - every[2]) ** 2).mean(), abs=1e-9)


def test_both_differences_are_one_regression_on_their_mean():
    """MSE(Δs,Δy) + MSE(Δs,Δt) = 2 MSE(Δs,(Δt+Δy)/2) + ½ MSE(Δt,Δy) (methods: §1, fact 1)."""
    groups = groups_of(2, every=False)
    mse = {name: difference_mse(*map(torch.tensor, pair), groups).item() for name, pair in {
        "sy": (S, ONE_HOT), "st": (S, T), "middle": (S, (T + ONE_HOT) / 2), "ty": (T, ONE_HOT)}.items()}  # fmt: skip
    assert mse["sy"] + mse["st"] == pytest.approx(2 * mse["middle"] + mse["ty"] / 2, abs=1e-9)


@pytest.mark.parametrize("name", ["ckd-mse", "ckd-kl"])
@pytest.mark.parametrize("every", [True, False])
def test_a_common_offset_is_invisible_to_differences_and_the_minimum_is_zero(name, every):
    groups = groups_of(3, every)
    moved = terms(name, {"labels": "none"}, groups, student=T + RNG.normal(size=C))
    assert moved["relation"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("k", [2, 3])
def test_ckd_kl(k, every):
    groups = groups_of(k, every)
    matrix = groups.matrix.numpy()
    found = terms("ckd-kl", {"labels": "difference", "temperature": 4.0, "weight_labels": 0.5}, groups)
    expected = {"relation": kd(matrix @ S, matrix @ T, 4), "labels": 0.5 * kd(matrix @ S, matrix @ ONE_HOT, 4)}
    assert found == pytest.approx(expected, abs=1e-9)


def test_ckd_mse_does_not_depend_on_the_order_of_the_batch():
    order = RNG.permutation(B)
    groups = groups_of(2, every=True)
    assert terms("ckd-mse", {}, groups) == pytest.approx(
        terms("ckd-mse", {}, groups, S[order], T[order], Y[order]), abs=1e-12
    )


@pytest.mark.parametrize("k", [2, 3, 5])
def test_in_batch_groups_are_zero_sum_and_use_every_sample_alike(k):
    matrix = in_batch(B, torch.tensor(group_weights(k))).matrix
    torch.testing.assert_close(matrix.sum(1), torch.zeros(len(matrix), dtype=matrix.dtype), atol=1e-12, rtol=0)
    assert ((matrix != 0).sum(1) == k).all()
    assert (matrix != 0).sum(0).unique().numel() == 1
    assert difference(torch.tensor(S), in_batch(B, torch.tensor(group_weights(k)))).shape == (len(matrix), C)


@pytest.mark.parametrize("name", METHODS)
def test_bf16_and_large_logits_stay_finite(name):
    groups = listed(6, torch.tensor([1.0, -1.0]))
    student = torch.full((12, 10), 3e4).index_fill(1, torch.tensor([3]), -3e4).requires_grad_()
    teacher = {"logits": -student.detach()}
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(build(name, {})({"logits": student}, teacher, torch.zeros(12, dtype=torch.long), groups).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


def test_no_method_equals_another():
    groups = groups_of(2, every=False)
    losses = {name: sum(terms(name, {}, groups).values()) for name in METHODS}
    assert len({round(value, 9) for value in losses.values()}) == len(METHODS)


def test_every_method_declares_what_it_needs():
    for name in METHODS:
        method = load_class(name)
        assert set(method.signals) <= {"logits", "embedding"}
        assert method.compares == name.startswith("ckd")


def test_an_unknown_method_lists_the_methods():
    with pytest.raises(UserError, match=r"'dkd' is not known.*Valid: ce, ckd-kl, ckd-mse, kd"):
        load_class("dkd")

"""`ce` and `kd` against an independent float64 NumPy computation, a value by hand, the minimum, and a limit."""

import numpy as np
import pytest
from scipy.special import log_softmax
from support.methods import batch_of, made, terms

RNG = np.random.default_rng(0)
B, C = 12, 7
S, T = RNG.normal(size=(B, C)) * 3, RNG.normal(size=(B, C)) * 3
Y = RNG.integers(C, size=B)


def divergence(ours, theirs, t):
    p = np.exp(log_softmax(theirs / t, axis=1))
    return t * t * (p * (log_softmax(theirs / t, axis=1) - log_softmax(ours / t, axis=1))).sum(1).mean()


def cross_entropy(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


def found(name, settings, student=S, teacher=T, labels=Y):
    return terms(made(name, settings), {"logits": np.array(student)}, batch_of(labels, {"logits": np.array(teacher)}))


def test_ce():
    given, grads = found("ce", {"weight_ce": 1.0})
    assert given == pytest.approx({"labels": cross_entropy(S, Y)}, abs=1e-12)
    expected = (np.exp(log_softmax(S, axis=1)) - np.eye(C)[Y]) / B
    np.testing.assert_allclose(grads["logits"].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_kd(t):
    given, _ = found("kd", {"temperature": t, "weight_ce": 0.3, "weight_kd": 0.6})
    expected = {"labels": 0.3 * cross_entropy(S, Y), "teacher": 0.6 * divergence(S, T, t)}
    assert given == pytest.approx(expected, abs=1e-12)
    assert found("kd", {}, student=T)[0]["teacher"] == pytest.approx(0, abs=1e-12)


def test_kd_by_hand():
    """Two classes, T = 1: teacher (ln 3, 0) says 3/4, student says 1/2: KL = ¾ ln(3/2) + ¼ ln(1/2)."""
    settings = {"temperature": 1.0, "weight_kd": 1.0}
    given, _ = found("kd", settings, student=[[0.0, 0.0]], teacher=[[np.log(3), 0.0]], labels=[0])
    assert given["teacher"] == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), abs=1e-12)


def test_kd_at_high_temperature_is_centred_logit_regression():
    """T → ∞: T² KL → ‖centred difference‖² / (2 C) (Hinton 2015, §2.1)."""
    gap = (S - S.mean(1, keepdims=True)) - (T - T.mean(1, keepdims=True))
    given, _ = found("kd", {"temperature": 1e4, "weight_kd": 1.0})
    assert given["teacher"] == pytest.approx((gap**2).sum(1).mean() / (2 * C), rel=1e-3)


@pytest.mark.parametrize("name", ["ce", "kd"])
def test_neither_depends_on_the_order_of_the_batch(name):
    order = RNG.permutation(B)
    moved, _ = found(name, {"weight_ce": 0.5}, S[order], T[order], Y[order])
    assert found(name, {"weight_ce": 0.5})[0] == pytest.approx(moved, abs=1e-12)


def test_plus_kd_is_kd_at_temperature_4_with_weight_1():
    given, _ = found("ce+kd", {"weight_ce": 1.0})
    assert given == pytest.approx({"labels": cross_entropy(S, Y), "kd": divergence(S, T, 4)}, abs=1e-12)
    given, _ = found("ce+kd", {"weight_kd": 0.5, "temperature_kd": 2.0})
    assert given["kd"] == pytest.approx(0.5 * divergence(S, T, 2), abs=1e-12)

"""`pseudo-label` against an independent float64 NumPy computation, a value by hand, and its minimum."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from support.methods import batch_of, made, terms

from tuition.methods import build

RNG = np.random.default_rng(0)
B, C = 12, 7
S, T = RNG.normal(size=(B, C)) * 3, RNG.normal(size=(B, C)) * 3
Y = RNG.integers(C, size=B)


def found(settings, student=S, teacher=T):
    said = {"label": np.argmax(teacher, axis=1).astype(np.int32), "logits": np.array(teacher)}
    return terms(made("pseudo-label", settings), {"logits": np.array(student)}, batch_of(Y[: len(student)], said))


@pytest.mark.parametrize("threshold", [0.0, 0.9])
def test_pseudo_label(threshold):
    given, grads = found({"threshold": threshold, "weight": 0.6})
    sure = softmax(T, axis=1).max(1) >= threshold
    assert not threshold or 0 < sure.sum() < B
    top = T.argmax(1)
    losses = -log_softmax(S, axis=1)[np.arange(B), top] * sure
    assert given == pytest.approx({"teacher": 0.6 * losses.mean()}, abs=1e-12)
    expected = 0.6 * (softmax(S, axis=1) - np.eye(C)[top]) * sure[:, None] / B
    np.testing.assert_allclose(grads["logits"].numpy(), expected, atol=1e-12)


def test_pseudo_label_by_hand():
    """Two classes, the student at 3/4 and 1/2 for the teacher's class, the second unsure: −½ ln ¾ with τ = 0.9."""
    student, teacher = [[np.log(3), 0.0], [0.0, 0.0]], [[9.0, 0.0], [0.1, 0.0]]
    given, _ = found({"threshold": 0.9}, student, teacher)
    assert given["teacher"] == pytest.approx(-0.5 * np.log(0.75), abs=1e-12)


def test_its_minimum_is_a_student_that_is_sure_of_the_teachers_class():
    assert found({}, student=1e3 * np.eye(C)[T.argmax(1)])[0]["teacher"] == pytest.approx(0, abs=1e-12)


def test_logits_are_read_for_a_threshold_alone():
    assert build("pseudo-label").signals == ("label",)
    assert build("pseudo-label", {"threshold": 0.5}).signals == ("label", "logits")

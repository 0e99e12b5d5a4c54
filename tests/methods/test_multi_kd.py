"""KD from several teachers against an independent float64 computation, values by hand, its minimum, and rows that a teacher lacks."""

import numpy as np
import pytest
from support.methods import batch_of, context_of, made, terms

from tuition.errors import UserError
from tuition.methods import build, check_settings

RNG = np.random.default_rng(0)
B, C = 9, 6
S, T, U, V = (RNG.normal(size=(B, C)) * 3 for _ in range(4))
ALL = np.ones(B, dtype=bool)
SOME = np.array([True, False, True, True, False, False, True, True, True])
OTHERS = {"second": {"logits": U}, "third": {"logits": V}}


def softmax(z):
    z = np.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


def kl(p, q):
    """KL(p ‖ q) of each row."""
    return (p * (np.log(p) - np.log(q))).sum(1)


def found(settings, student=S, teacher=T, others=OTHERS, present=None):
    """(the loss, the student's gradient)."""
    present = present or dict.fromkeys(others, np.ones(len(student), dtype=bool))
    objective = made("multi-kd", settings, context_of({"logits": student}, others=others, present=present))
    batch = batch_of(np.zeros(len(student)), {"logits": teacher}, others=others, present=present)
    loss, gradients = terms(objective, {"logits": student}, batch)
    assert list(loss) == ["teacher"]
    return loss["teacher"], gradients["logits"].numpy()


@pytest.mark.parametrize("weights", [None, {"teacher": 2.0, "third": 0.5}, {"second": 0.0}])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_mean_of_what_each_teacher_says(weights, temperature):
    present = {"second": SOME, "third": ~SOME}
    w = {"teacher": 1.0, "second": 1.0, "third": 1.0} | (weights or {})
    q, losses = softmax(S / temperature), []
    for i in range(B):
        of_row = [(w["teacher"], T[i])]
        of_row += [(w[name], z[i]) for name, z in (("second", U), ("third", V)) if present[name][i]]
        mean = sum(one * softmax(z[None] / temperature) for one, z in of_row) / sum(one for one, _ in of_row)
        losses.append(kl(mean, q[i : i + 1])[0])
    loss, _ = found({"weights": weights, "temperature": temperature, "weight": 0.7}, present=present)
    assert loss == pytest.approx(0.7 * temperature**2 * np.mean(losses), abs=1e-9)


@pytest.mark.parametrize("weights", [None, {"teacher": 2.0, "third": 0.5}])
def test_the_sum_of_the_losses(weights):
    present = {"second": SOME, "third": ALL}
    w = {"teacher": 1.0, "second": 1.0, "third": 1.0} | (weights or {})
    q = softmax(S / 3)
    each = w["teacher"] * kl(softmax(T / 3), q) + w["second"] * SOME * kl(softmax(U / 3), q)
    each += w["third"] * kl(softmax(V / 3), q)
    settings = {"combine": "losses", "weights": weights, "temperature": 3.0, "weight": 0.7}
    assert found(settings, present=present)[0] == pytest.approx(0.7 * 9 * each.mean(), abs=1e-9)


def test_by_hand():
    """Two classes, T = 1, a uniform student; one teacher says (¾, ¼), the other (¼, ¾): their mean is what the student says."""
    sure = np.array([[np.log(3), 0.0]])
    settings, others = {"temperature": 1.0, "weight": 1.0}, {"second": {"logits": -sure}}
    student = np.zeros((1, 2))
    assert found(settings, student, sure, others)[0] == pytest.approx(0, abs=1e-12)
    k = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert found({**settings, "combine": "losses"}, student, sure, others)[0] == pytest.approx(2 * k)
    alone = {"second": np.array([False])}
    assert found(settings, student, sure, others, alone)[0] == pytest.approx(k)
    assert found({**settings, "weights": {"teacher": 3.0}}, student, sure, others)[0] == pytest.approx(
        0.625 * np.log(1.25) + 0.375 * np.log(0.75)  # (3 · ¾ + ¼) / 4
    )


def test_its_minimum_is_the_mean_of_the_probabilities():
    mean = (softmax(T / 2) + softmax(U / 2) + softmax(V / 2)) / 3
    loss, gradient = found({"temperature": 2.0}, 2 * np.log(mean))
    assert loss == pytest.approx(0, abs=1e-12)
    assert np.abs(gradient).max() < 1e-12
    _, gradient = found({"temperature": 2.0, "combine": "losses"}, 2 * np.log(mean))
    assert np.abs(gradient).max() < 1e-12  # of the sum of the losses, too


def test_gradients_of_both_combinations_differ_by_the_teachers_that_weigh():
    weights, present = {"teacher": 2.0}, {"second": SOME, "third": ALL}
    of_mean, of_losses = (
        found({"combine": combine, "weights": weights}, present=present)[1] for combine in ("probabilities", "losses")
    )
    np.testing.assert_allclose(of_losses, of_mean * (3 + SOME)[:, None], atol=1e-12)


def test_with_equal_teachers_it_is_kd():
    same = {"second": {"logits": T}, "third": {"logits": T}}
    kd = made("kd", {"weight_kd": 0.9}, context_of({"logits": S}))
    expected = terms(kd, {"logits": S}, batch_of(np.zeros(B), {"logits": T}))[0]["teacher"]
    assert found({}, others=same)[0] == pytest.approx(expected, abs=1e-9)
    assert found({"combine": "losses"}, others=same)[0] == pytest.approx(3 * expected, abs=1e-9)


@pytest.mark.parametrize("combine", ["probabilities", "losses"])
def test_what_an_absent_teacher_would_have_said_changes_nothing(combine):
    present = {"second": SOME, "third": ALL}
    other = {"second": {"logits": np.where(SOME[:, None], U, 1e4 * V)}, "third": {"logits": V}}
    one, same = found({"combine": combine}, present=present), found({"combine": combine}, others=other, present=present)
    assert one[0] == same[0]
    np.testing.assert_array_equal(one[1], same[1])


@pytest.mark.parametrize("combine", ["probabilities", "losses"])
def test_a_row_of_which_nobody_said_anything_that_weighs_is_not_distilled(combine):
    nobody, weights = np.zeros(B, dtype=bool), {"teacher": 0.0}
    loss, gradient = found({"combine": combine, "weights": weights}, present={"second": SOME, "third": nobody})
    assert np.isfinite(loss)
    assert loss > 0
    assert not gradient[~SOME].any()
    assert gradient[SOME].any(axis=1).all()


def test_settings():
    assert check_settings("multi-kd", {"weights": {"teacher": 2}}).settings["weights"] == {"teacher": 2.0}
    with pytest.raises(UserError, match=r"methods\.multi-kd\.weights: found \{'teacher': -1\.0\}, expected numbers"):
        build("multi-kd", {"weights": {"teacher": -1.0, "second": 1.0}})
    with pytest.raises(UserError, match=r"methods\.multi-kd\.combine: found 'mean'"):
        check_settings("multi-kd", {"combine": "mean"})
    with pytest.raises(UserError, match="the answers of one teacher alone; list further ones"):
        made("multi-kd", {}, context_of({"logits": S}))

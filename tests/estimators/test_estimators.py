"""Estimators on real digits: better than chance, honest about it, and never with a look at an answer that they are judged by."""

import numpy as np
import pytest
from support import digits

from tuition.errors import UserError
from tuition.estimators import ESTIMATORS, Bought, answers, fit
from tuition.estimators.auto import PARTS
from tuition.estimators.confidence import calibrate, interval
from tuition.estimators.propagation import LIMIT
from tuition.estimators.protocol import divergence
from tuition.params import Estimate


@pytest.fixture(scope="module")
def pool():
    """Pixels (900, 196) of 900 digits at half their size, and logits (900, 10) of a teacher: by distance to each digit's mean."""
    images, labels = digits(900)
    pixels = images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(900, -1).astype(np.float32) / 255
    means = np.stack([pixels[labels == one].mean(0) for one in range(10)])
    return pixels, -((pixels[:, None] - means) ** 2).sum(2)


def buy(pool, count, logits=None):
    rows = np.sort(np.random.default_rng(0).permutation(900)[:count])
    return Bought(pool[0], rows, (pool[1] if logits is None else logits)[rows])


def agreement(fitted, bought, teacher):
    rest = np.setdiff1d(np.arange(len(teacher)), bought.positions)
    logits = fitted.estimate(rest)
    expected = calibrate(fitted.held_out, bought.logits).of(logits).mean()
    return (logits.argmax(1) == teacher[rest].argmax(1)).mean(), expected


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("form", ["logits", "labels", "top 2"])
def test_the_rest_is_estimated_and_how_well_is_known(pool, name, form):
    teacher = pool[1]
    if form == "labels":
        given = answers.of_labels(teacher.argmax(1), 10)
    elif form == "top 2":
        p = np.exp(teacher - teacher.max(1, keepdims=True))
        given = answers.bounded(np.log(p / p.sum(1, keepdims=True)))
        given = np.where(np.argsort(np.argsort(given, 1), 1) >= 8, given, np.log(1e-4)).astype(np.float32)
    else:
        given = teacher
    bought = buy(pool, 150, given)
    true, expected = agreement(fit(name, bought), bought, teacher)
    assert true > 0.6
    assert abs(expected - true) < 0.1  # 150 answers tell it within 8 points


@pytest.mark.parametrize("name", ["ridge", "logistic", "knn", "propagation", "auto"])
def test_a_held_out_estimate_never_saw_its_own_answer(pool, name):
    """Answers of pure chance: what is judged without its own answer cannot agree with it."""
    noise = np.random.default_rng(1).normal(size=(900, 10))
    bought = buy(pool, 200, noise)
    fitted = fit(name, bought)
    assert (fitted.held_out.argmax(1) == bought.logits.argmax(1)).mean() < 0.2
    assert agreement(fitted, bought, noise)[1] < 0.25


def test_ridges_closed_form_is_what_leaving_each_answer_out_gives(pool):
    bought = buy(pool, 40)
    fitted = fit("ridge", bought)
    x, y = bought.features.astype(float), bought.logits - bought.logits.mean(1, keepdims=True)
    centred = x - x.mean(0)
    penalty = fitted.settings["penalty"] * np.linalg.eigvalsh(centred.T @ centred).mean()
    for out in (0, 17, 39):
        kept = np.arange(40) != out
        mean, offset = x[kept].mean(0), y[kept].mean(0)
        a = x[kept] - mean
        weights = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ (y[kept] - offset))
        expected = fitted.settings["scale"] * ((x[out] - mean) @ weights + offset)
        np.testing.assert_allclose(fitted.held_out[out], expected, rtol=1e-3, atol=1e-3)


def test_auto_is_no_worse_than_its_parts_where_it_was_judged(pool):
    bought = buy(pool, 100)
    losses = {name: divergence(bought.target, fit(name, bought).held_out) for name in ("auto", *PARTS)}
    assert losses["auto"] <= min(losses.values()) + 1e-6


def test_fewer_answers_than_classes(pool):
    rows = np.array([int((pool[1].argmax(1) == one).argmax()) for one in (2, 3, 7)])
    bought = Bought(pool[0], rows, pool[1][rows])
    assert bought.unseen.tolist() == [0, 1, 4, 5, 6, 8, 9]
    for name in ESTIMATORS:
        assert np.isfinite(fit(name, bought).estimate(np.arange(900))).all()


def change(values, row, value):
    changed = values.copy()
    changed[row] = value
    return changed


def test_bad_input_says_what_was_found(pool):
    features, logits = pool
    three = np.arange(3)
    for arguments, message in (
        ((change(features, 5, np.nan), three, logits[:3]), "features: row 5 holds values that are not finite"),
        ((np.ones_like(features), three, logits[:3]), "all 900 rows are the same"),
        ((features, three + 899, logits[:3]), "900 rows, but sample 901 was bought"),
        ((features, three, logits[:2]), "2 answers of 3 samples"),
        ((features, three[:1], logits[:1]), "1 samples were bought; at least 2"),
        ((features, three, change(logits[:3], 1, np.inf)), "1 rows are not finite; the first is row 1"),
        ((features, three, np.tile(np.eye(10)[4], (3, 1))), "names class 4 for each of 3 samples"),
    ):
        with pytest.raises(UserError, match=message):
            fit("ridge", Bought(*arguments))
    with pytest.raises(UserError, match=r"'rigde' is not known. Did you mean 'ridge'"):
        fit("rigde", buy(pool, 10))
    many = np.broadcast_to(features[:1], (LIMIT + 1, features.shape[1])).copy()
    many[0] = features[1]
    with pytest.raises(UserError, match="'propagation' holds each sample against every other"):
        fit("propagation", Bought(many, three, logits[:3]))


def test_the_names_are_those_of_params():
    valid = Estimate.model_fields["estimator"].annotation.__args__
    assert sorted(valid) == sorted(["none", *ESTIMATORS])


def test_answers_of_every_form():
    labels = answers.of_labels(np.array([1, 0]), 3)
    assert labels.argmax(1).tolist() == [1, 0]
    logs = np.log(np.array([[1 - 2e-12, 1e-12, 1e-12]]))
    assert answers.bounded(logs).min() == pytest.approx(np.log(1e-4))
    far = np.array([[40.0, -40.0, 0.0]])
    assert np.array_equal(answers.bounded(far), far)  # logits are no logarithms of probabilities
    positions, mean = answers.of_samples(np.array([7, 2, 7]), np.array([[0.0, 2.0], [5.0, 6.0], [4.0, 4.0]]))
    assert (positions.tolist(), mean.tolist()) == ([2, 7], [[5.0, 6.0], [2.0, 3.0]])


def test_a_few_answers_that_agree_give_no_certainty():
    all_right = np.eye(10)[np.arange(5)] * 8
    sure = calibrate(all_right, all_right)
    assert sure.agreement == 1
    assert 0.6 < sure.of(all_right).mean() < 0.999
    low, high = interval(1.0, 5)
    assert 0.5 < low < 0.6
    assert high == pytest.approx(1.0)

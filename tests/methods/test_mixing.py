"""Mixtures: what is drawn follows its distribution, images and targets are the same mixture, losses are those of float64 NumPy."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax, softmax
from support.methods import batch_of, context_of, made, terms

from tuition.errors import UserError
from tuition.losses import mixing

RNG = np.random.default_rng(0)
B, C, M, SIDE = 12, 7, 20, 8
S, T = RNG.normal(size=(2 * B, C)) * 3, RNG.normal(size=(B, C)) * 3
Y = RNG.integers(C, size=B)
IMAGES = RNG.normal(size=(B, 3, SIDE, SIDE))


def divergence(ours, theirs, t):
    p = np.exp(log_softmax(theirs / t, axis=1))
    return t * t * (p * (log_softmax(theirs / t, axis=1) - log_softmax(ours / t, axis=1))).sum(1).mean()


def soft_cross_entropy(logits, target):
    return -(target * log_softmax(logits, axis=1)).sum(1).mean()


def one_hot(labels):
    return np.eye(C)[labels]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(seed=0, images=IMAGES):
    return batch_of(Y, {"logits": T}, images=images, seed=seed)


def mixture(augmented):
    rows, shares = (augmented.extra[name].numpy() for name in ("rows", "shares"))
    return rows, shares.astype(np.float64)


def mixed(values, rows, shares):
    shares = shares.reshape(*shares.shape, *(1,) * (values.ndim - 1))
    return (shares * values[rows]).sum(1)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_two_shares_are_beta(alpha):
    shares = mixing.draw_shares(4000, 2, alpha, generator()).double().numpy()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert stats.kstest(shares[:, 0], stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_three_shares_are_dirichlet(alpha):
    shares = mixing.draw_shares(4000, 3, alpha, generator()).double().numpy()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    for place in range(3):
        assert stats.kstest(shares[:, place], stats.beta(alpha, 2 * alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_three_ratios_are_draws_of_beta_over_their_sum_and_one_for_the_batch(alpha):
    drawing = generator()
    ratios = np.stack([mixing.draw_ratios(5, 3, alpha, drawing).double().numpy() for _ in range(2000)])
    assert (ratios == ratios[:, :1]).all()
    np.testing.assert_allclose(ratios.sum(2), 1, atol=1e-6)
    draws = RNG.beta(alpha, alpha, size=(20000, 3))
    for place in range(3):
        assert stats.ks_2samp(ratios[:, 0, place], (draws / draws.sum(1, keepdims=True))[:, place]).pvalue > 1e-3


def test_every_sample_is_mixed_once_in_every_place():
    rows = mixing.draw_rows(50, 3, generator())
    assert rows[:, 0].tolist() == list(range(50))
    for place in range(3):
        assert sorted(rows[:, place].tolist()) == list(range(50))
    assert not torch.equal(rows[:, 1], rows[:, 2])


def test_a_mix_by_hand():
    values = torch.tensor([[[1.0]], [[10.0]], [[100.0]]])
    rows, shares = torch.tensor([[0, 2], [1, 0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert mixing.mix(values, rows, shares).flatten().tolist() == [75.25, 10.0]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 20)])
def test_boxes_are_one_rectangle_of_at_most_the_share_that_is_taken(height, width):
    lam = torch.rand(500, generator=generator())
    inside = mixing.draw_boxes(lam, height, width, generator(1))[:, 0].numpy()
    for box, keep in zip(inside, lam.tolist(), strict=True):
        rows, columns = box.any(1), box.any(0)
        assert np.array_equal(box, rows[:, None] & columns[None])
        for line, length in ((rows, height), (columns, width)):
            places = np.flatnonzero(line)
            assert len(places) == 0 or len(places) == places[-1] - places[0] + 1
            assert len(places) <= 2 * (int(length * np.sqrt(1 - keep)) // 2)
    assert mixing.draw_boxes(torch.ones(3), 8, 8, generator()).any().item() is False
    within = [not (box[0].any() or box[-1].any() or box[:, 0].any() or box[:, -1].any()) for box in inside]
    sides = [(np.array([height, width]) * np.sqrt(1 - keep)).astype(int) // 2 * 2 for keep in lam.tolist()]
    whole = [
        (box.sum(), side.prod()) for box, side, fits in zip(inside, sides, within, strict=True) if fits and box.any()
    ]
    assert len(whole) > 20
    assert all(area == full for area, full in whole)
    assert inside.any(0).all()


@pytest.mark.parametrize(("name", "k"), [("mixup", 2), ("mixup3", 3)])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_mixup(name, k, alpha):
    objective = made(name, {"alpha": alpha, "weight_labels": 0.7, "weight_teacher": 1.3})
    augmented = objective.augment(batch())
    rows, shares = mixture(augmented)
    assert rows.shape == shares.shape == (B, k)
    assert (shares == shares[0]).all() == (name == "mixup3")
    np.testing.assert_allclose(augmented.inputs.numpy(), mixed(IMAGES, rows, shares), atol=1e-12)
    given, _ = terms(objective, {"logits": S[:B]}, augmented)
    expected = {
        "labels": 0.7 * soft_cross_entropy(S[:B], mixed(one_hot(Y), rows, shares)),
        "teacher": 1.3 * soft_cross_entropy(S[:B], mixed(softmax(T, axis=1), rows, shares)),
    }
    assert given == pytest.approx(expected, abs=1e-9)


def test_cutmix():
    objective = made("cutmix", {"weight_labels": 0.7, "weight_teacher": 1.3})
    augmented = objective.augment(batch(seed=3))
    rows, shares = mixture(augmented)
    images = augmented.inputs.numpy()
    for i, (own, other) in enumerate(rows):
        kept = (images[i] == IMAGES[own]).all(0)
        assert ((images[i] == IMAGES[other]).all(0) | kept).all()
        if own != other:
            assert shares[i, 0] == pytest.approx(kept.mean(), abs=1e-6)  # λ is what stayed, to the pixel
    assert 0 < shares[:, 1].mean() < 1
    given, _ = terms(objective, {"logits": S[:B]}, augmented)
    expected = {
        "labels": 0.7 * soft_cross_entropy(S[:B], mixed(one_hot(Y), rows, shares)),
        "teacher": 1.3 * soft_cross_entropy(S[:B], mixed(softmax(T, axis=1), rows, shares)),
    }
    assert given == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["mixup", "mixup3", "cutmix"])
def test_the_baselines_by_hand_and_their_minimum(name):
    """A student that says 1/C of each class has ln C in both terms, whatever is mixed. A batch of one sample twice mixes to itself: the
    teacher's term then has its minimum, the teacher's entropy, where the student is the teacher."""
    objective = made(name)
    given, _ = terms(objective, {"logits": np.zeros((B, C))}, objective.augment(batch()))
    assert given == pytest.approx({"labels": np.log(C), "teacher": np.log(C)}, abs=1e-6)
    same = batch_of([2, 2], {"logits": T[[0, 0]]}, images=IMAGES[[0, 0]])
    augmented = objective.augment(same)
    np.testing.assert_allclose(augmented.inputs.numpy(), IMAGES[[0, 0]], atol=1e-6)
    given, grads = terms(made(name, {"weight_labels": 0.0}), {"logits": T[[0, 0]]}, augmented)
    assert given["teacher"] == pytest.approx(stats.entropy(softmax(T[0])), abs=1e-6)
    assert grads["logits"].abs().max() < 1e-6


def test_plus_kd_of_mixed_images_matches_the_mix_of_logits():
    objective = made("mixup+kd")
    augmented = objective.augment(batch())
    given, _ = terms(objective, {"logits": S[:B]}, augmented)
    assert given["kd"] == pytest.approx(divergence(S[:B], mixed(T, *mixture(augmented)), 4), abs=1e-9)


def test_mix_cached():
    objective = made("mix-cached", {"temperature": 3.0, "weight_mixup": 0.7, "weight_teacher": 1.3})
    augmented = objective.augment(batch())
    rows, shares = mixture(augmented)
    np.testing.assert_allclose(augmented.inputs.numpy()[:B], IMAGES, atol=0)
    np.testing.assert_allclose(augmented.inputs.numpy()[B:], mixed(IMAGES, rows, shares), atol=1e-12)
    given, _ = terms(objective, {"logits": S}, augmented)
    expected = {
        "mixup": 0.7 * soft_cross_entropy(S[B:], mixed(one_hot(Y), rows, shares)),
        "teacher": 1.3 * divergence(S[:B], T, 3),
        "mixed": 1.3 * divergence(S[B:], mixed(T, rows, shares), 3),
    }
    assert given == pytest.approx(expected, abs=1e-9)
    exact = np.concatenate([T, mixed(T, rows, shares)])
    given, _ = terms(objective, {"logits": exact}, augmented)
    assert [given["teacher"], given["mixed"]] == pytest.approx([0, 0], abs=1e-9)


def paid(m=M):
    return {
        "inputs": torch.from_numpy(RNG.integers(0, 256, size=(m, 3, SIDE, SIDE), dtype=np.uint8)),
        "logits": torch.from_numpy(RNG.normal(size=(m, C)).astype(np.float32)),
        "first": torch.from_numpy(RNG.integers(B, size=m)),
        "second": torch.from_numpy(RNG.integers(B, size=m)),
        "lam": torch.from_numpy(RNG.random(m).astype(np.float32)),
    }


@pytest.mark.parametrize("m", [M, 5])
def test_mixkd_matches_what_was_paid_for(m):
    bought = paid(m)
    context = context_of({"logits": S[:B]}, {"logits": T}, labels=Y, classes=C, mixed=bought)
    objective = made("mixkd", {"temperature": 3.0, "weight_mixup": 0.7, "weight_teacher": 1.3}, context)
    augmented = objective.augment(batch())
    drawn = augmented.extra["drawn"].numpy()
    assert len(drawn) == len(set(drawn)) == min(B, m)
    np.testing.assert_allclose(augmented.inputs.numpy()[:B], IMAGES, atol=0)
    np.testing.assert_allclose(augmented.inputs.numpy()[B:], bought["inputs"].numpy()[drawn] / 255, atol=1e-7)
    ours = S[: B + len(drawn)]
    given, _ = terms(objective, {"logits": ours}, augmented)
    first, second, lam, logits = (bought[name].numpy()[drawn] for name in ("first", "second", "lam", "logits"))
    labels = lam[:, None] * one_hot(Y[first]) + (1 - lam[:, None]) * one_hot(Y[second])
    expected = {
        "mixup": 0.7 * soft_cross_entropy(ours[B:], labels),
        "teacher": 1.3 * divergence(ours[:B], T, 3),
        "mixed": 1.3 * divergence(ours[B:], logits.astype(np.float64), 3),
    }
    assert given == pytest.approx(expected, abs=1e-6)
    assert set(objective.augment(batch(seed=1)).extra["drawn"].tolist()) != set(drawn.tolist()) or m == 5
    assert not objective.state_dict()  # what was bought is not checkpointed


def test_mixkd_without_mixed_inputs_says_how_to_buy_them():
    with pytest.raises(UserError, match=r"mixkd: found no mixed inputs.*teach\.mixed: true"):
        made("mixkd", {}, context_of({"logits": S[:B]}, {"logits": T}, labels=Y, classes=C))


@pytest.mark.parametrize("name", ["mixup", "mixup3", "cutmix", "mix-cached"])
def test_a_mixture_is_the_generators_alone(name):
    objective = made(name)
    torch.manual_seed(1)
    one = objective.augment(batch(seed=4)).inputs
    torch.manual_seed(2)
    assert torch.equal(one, objective.augment(batch(seed=4)).inputs)
    assert not torch.equal(one, objective.augment(batch(seed=5)).inputs)

"""Comparative KD against float64 NumPy and brute force over all groups, its identities, its blind spot and the remedies."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from support.methods import batch_of, made, terms

from tuition.comparisons import group_weights
from tuition.errors import UserError
from tuition.losses.comparisons import combined, difference, difference_mse, in_batch, listed
from tuition.training.loop import Learner

RNG = np.random.default_rng(0)
B, C = 12, 7
S, T = RNG.normal(size=(B, C)) * 3, RNG.normal(size=(B, C)) * 3
Y = RNG.integers(C, size=B)
ONE_HOT = np.eye(C)[Y]
ODD = [0.7, 0.3, 1.0, -1.9, -0.1]  # zero-sum weights that are nobody's
DISTANCES = {
    "mse": lambda a, b: ((a - b) ** 2).mean(),
    "cosine": lambda a, b: 1 - (unit(a) * unit(b)).sum(1).mean(),
    "smooth-l1": lambda a, b: np.where(abs(a - b) < 1, (a - b) ** 2 / 2, abs(a - b) - 0.5).mean(),
    "normalised": lambda a, b: ((unit(a) - unit(b)) ** 2).mean(),
}


def unit(delta):
    return delta / np.maximum(np.linalg.norm(delta, axis=1, keepdims=True), 1e-6)


def divergence(ours, theirs, t):
    p = np.exp(log_softmax(theirs / t, axis=1))
    return t * t * (p * (log_softmax(theirs / t, axis=1) - log_softmax(ours / t, axis=1))).sum(1).mean()


def cross_entropy(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


def groups_of(weights, every, size=B):
    weights = torch.tensor(group_weights(weights) if isinstance(weights, int) else weights, dtype=torch.float64)
    return in_batch(size, weights) if every else listed(size // len(weights), weights)


def found(name, settings, groups, student=S, teacher=T, labels=Y, seed=0):
    used = groups.matrix.shape[1]
    batch = batch_of(labels[:used], {"logits": np.array(teacher[:used])}, groups=groups, seed=seed)
    return terms(made(name, settings), {"logits": np.array(student[:used])}, batch)[0]


def deltas(weights, z):
    """Δ (⌊B/k⌋, C) of groups that lie end to end."""
    k = len(weights)
    return np.stack([weights @ z[i : i + k] for i in range(0, len(z) // k * k, k)])


def all_groups(weights, z):
    """Every Δ over ordered choices of k distinct samples: (many, C)."""
    return np.stack([weights @ z[list(members)] for members in permutations(range(len(z)), len(weights))])


@pytest.mark.parametrize("weights", [2, 3, 4, 5, ODD])
@pytest.mark.parametrize("labels", ["difference", "ce", "none"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_ckd_mse_over_listed_groups(weights, labels, distance):
    w = group_weights(weights) if isinstance(weights, int) else np.array(weights)
    used, apart = B // len(w) * len(w), DISTANCES[distance]
    settings = {"labels": labels, "weight_relation": 2.0, "distance": distance}
    given = found("ckd-mse", settings, groups_of(weights, every=False))
    ours, theirs, hard = (deltas(w, z) for z in (S, T, ONE_HOT))
    expected = {"relation": 2 * apart(ours, theirs)}
    if labels == "difference":
        expected["labels"] = apart(ours, hard)
    elif labels == "ce":
        expected["labels"] = cross_entropy(S[:used], Y[:used])
    assert given == pytest.approx(expected, abs=1e-9)


def test_ckd_mse_by_hand():
    """One pair, two classes: Δs = (1, −1), Δt = (3, 0), Δy = (1, −1): relation (4 + 1) / 2, labels 0, cosine 1 − 1/√2."""
    groups = groups_of(2, every=False, size=2)
    student, teacher = [[1.0, 0.0], [0.0, 1.0]], [[3.0, 1.0], [0.0, 1.0]]
    for distance, relation in {"mse": 2.5, "cosine": 1 - 0.5**0.5, "smooth-l1": (1.5 + 0.5) / 2}.items():
        given = found("ckd-mse", {"distance": distance}, groups, student, teacher, np.array([0, 1]))
        assert given == pytest.approx({"relation": relation, "labels": 0.0}, abs=1e-12)


@pytest.mark.parametrize("weights", [2, 3, 4, [1.0, -2.5, 1.5], [0.4, 0.6, 1.0, -2.0]])
def test_ckd_mse_within_a_batch_is_the_mean_over_every_group(weights):
    """The O(B·C) form against all ordered groups by brute force (methods: §1, fact 2, for any zero-sum weights)."""
    w = group_weights(weights) if isinstance(weights, int) else np.array(weights)
    ours, theirs, hard = (all_groups(w, z[:6]) for z in (S, T, ONE_HOT))
    given = found("ckd-mse", {}, groups_of(weights, every=True, size=6))
    expected = {"relation": ((ours - theirs) ** 2).mean(), "labels": ((ours - hard) ** 2).mean()}
    assert given == pytest.approx(expected, abs=1e-9)


def test_all_pairs_are_mean_centred_regression():
    """Σ_ij ‖(s_i−s_j)−(t_i−t_j)‖² = 2B·Σ_i ‖gap_i − mean gap‖², gap = s − t (methods: §1, fact 2)."""
    gap = S - T
    pairs = gap[:, None] - gap[None]
    assert (pairs**2).sum() == pytest.approx(2 * B * ((gap - gap.mean(0)) ** 2).sum(), abs=1e-9)
    given = found("ckd-mse", {"labels": "none"}, groups_of(2, every=True))
    assert given["relation"] == pytest.approx((pairs**2).sum() / (B * (B - 1) * C), abs=1e-9)


def test_both_differences_are_one_regression_on_their_mean():
    """MSE(Δs,Δy) + MSE(Δs,Δt) = 2 MSE(Δs,(Δt+Δy)/2) + ½ MSE(Δt,Δy) (methods: §1, fact 1)."""
    groups = groups_of(2, every=False)
    mse = {
        name: difference_mse(*map(torch.tensor, pair), groups).item()
        for name, pair in {
            "sy": (S, ONE_HOT),
            "st": (S, T),
            "middle": (S, (T + ONE_HOT) / 2),
            "ty": (T, ONE_HOT),
        }.items()
    }
    assert mse["sy"] + mse["st"] == pytest.approx(2 * mse["middle"] + mse["ty"] / 2, abs=1e-9)


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("weights", [2, 3, ODD])
def test_ckd_kl(weights, every):
    groups = groups_of(weights, every)
    matrix, used = groups.matrix.numpy(), groups.matrix.shape[1]
    given = found("ckd-kl", {"labels": "difference", "temperature": 4.0, "weight_labels": 0.5}, groups)
    ours, theirs, hard = (matrix @ z[:used] for z in (S, T, ONE_HOT))
    assert given == pytest.approx(
        {"relation": divergence(ours, theirs, 4), "labels": 0.5 * divergence(ours, hard, 4)}, abs=1e-9
    )


@pytest.mark.parametrize(("name", "distance"), [("ckd-kl", None), *(("ckd-mse", one) for one in DISTANCES)])
@pytest.mark.parametrize("every", [True, False])
def test_a_common_offset_is_invisible_to_differences_and_the_minimum_is_zero(name, distance, every):
    settings = {"labels": "none", **({"distance": distance} if distance else {})}
    moved = T + RNG.normal(size=C)
    assert found(name, settings, groups_of(3, every), student=moved) == pytest.approx({"relation": 0}, abs=1e-9)


@pytest.mark.parametrize("name", ["ckd-mse", "ckd-kl"])
def test_the_anchor_sees_the_common_offset(name):
    offset, groups = RNG.normal(size=C), groups_of(2, every=True)
    given = found(name, {"labels": "none", "anchor": 3.0}, groups, student=T + offset)
    assert given == pytest.approx({"relation": 0, "anchor": 3 * (offset**2).mean()}, abs=1e-9)
    given = found(name, {"labels": "none", "anchor": 3.0}, groups)
    assert given["anchor"] == pytest.approx(3 * ((S.mean(0) - T.mean(0)) ** 2).mean(), abs=1e-9)


def test_with_its_anchor_ckd_mse_is_plain_logit_regression():
    """Σ‖gap‖² = Σ‖gap − mean‖² + B‖mean‖²: over all pairs, with the anchor weighted 2B / (B − 1), MSE · 2B / (B − 1)."""
    share = 2 * B / (B - 1)
    given = found("ckd-mse", {"labels": "none", "anchor": share}, groups_of(2, every=True))
    assert sum(given.values()) == pytest.approx(share * ((S - T) ** 2).mean(), abs=1e-9)


def share_of(how, seed):
    """The λ that a batch of this seed draws first."""
    drawn = torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.5 if how == "add" else drawn.item()


@pytest.mark.parametrize("how", ["add", "interpolate"])
@pytest.mark.parametrize("distance", ["mse", "normalised"])
def test_combinations_of_listed_pairs(how, distance):
    share = share_of(how, seed=5)
    first, second = slice(0, B, 2), slice(1, B, 2)
    ours, theirs, hard = (share * z[first] + (1 - share) * z[second] for z in (S, T, ONE_HOT))
    groups = groups_of(2, every=False)
    given = found("ckd-mse", {"combine": how, "distance": distance}, groups, seed=5)
    apart = DISTANCES[distance]
    assert given == pytest.approx({"relation": apart(ours, theirs), "labels": apart(ours, hard)}, abs=1e-9)
    given = found("ckd-kl", {"combine": how}, groups, seed=5)
    expected = {"relation": divergence(ours, theirs, 4), "labels": divergence(ours, hard, 4)}
    assert given == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("how", ["add", "interpolate"])
def test_combinations_within_a_batch_are_the_mean_over_every_pair(how):
    share = share_of(how, seed=5)
    ours, theirs, hard = (all_groups(np.array([share, 1 - share]), z) for z in (S, T, ONE_HOT))
    given = found("ckd-mse", {"combine": how}, groups_of(2, every=True), seed=5)
    expected = {"relation": ((ours - theirs) ** 2).mean(), "labels": ((ours - hard) ** 2).mean()}
    assert given == pytest.approx(expected, abs=1e-9)


def test_interpolation_draws_uniformly_once_a_batch():
    groups, draws = groups_of(2, every=False), []
    for seed in range(400):
        matrix = combined(groups, "interpolate", torch.Generator().manual_seed(seed)).matrix
        values = matrix[matrix != 0].view(-1, 2)
        assert (values == values[0]).all()
        draws.append(values[0, 0].item())
    assert abs(np.mean(draws) - 0.5) < 4 / np.sqrt(12 * 400)
    assert abs(np.var(draws) - 1 / 12) < 0.01


@pytest.mark.parametrize("name", ["ckd-mse", "ckd-kl"])
def test_only_pairs_are_combined_otherwise(name):
    with pytest.raises(UserError, match=r"'add' combines two samples, but groups have k = 3; .* k = 2"):
        found(name, {"combine": "add"}, groups_of(3, every=False))


def test_differences_of_one_class_teach_directions_nothing():
    """Labels of one class: Δy = 0 has no direction, so `normalised` and `cosine` are constant there and have no gradient."""
    for distance, constant in {"normalised": 1 / C, "cosine": 1.0}.items():
        method = made("ckd-mse", {"distance": distance, "weight_relation": 0.0})
        batch = batch_of(np.zeros(B), {"logits": T}, groups=groups_of(2, every=False))
        given, grads = terms(method, {"logits": S}, batch)
        assert given["labels"] == pytest.approx(constant, abs=1e-9)
        assert grads["logits"].abs().max() < 1e-9


def test_ckd_mse_does_not_depend_on_the_order_of_the_batch():
    order, groups = RNG.permutation(B), groups_of(2, every=True)
    moved = found("ckd-mse", {"anchor": 1.0}, groups, S[order], T[order], Y[order])
    assert found("ckd-mse", {"anchor": 1.0}, groups) == pytest.approx(moved, abs=1e-12)


def test_logits_stored_as_halves_change_the_loss_by_a_stated_bound():
    """A half is off by 2⁻¹¹ of its value; MSE(Δs, Δt) changes by at most 2·rms·e + e², e = 2·2⁻¹¹·max|t| off every Δt."""
    groups = groups_of(2, every=False)
    exact, halves = (
        found("ckd-mse", {"labels": "none"}, groups, teacher=t)["relation"] for t in (T, T.astype("f2").astype("f8"))
    )
    e = 2 * 2.0**-11 * abs(T).max()
    assert 0 < abs(exact - halves) <= 2 * np.sqrt(exact) * e + e**2


def test_half_precision_does_not_reach_differences_of_large_logits():
    """1000 and 1001 are one number in bf16; their difference is not lost under autocast."""
    groups = listed(1, torch.tensor([1.0, -1.0]))
    with torch.autocast("cpu", torch.bfloat16):
        assert difference(torch.tensor([[1001.0], [1000.0]]), groups).item() == 1.0


@pytest.mark.parametrize("weights", [2, 3, 5, ODD])
def test_in_batch_groups_are_zero_sum_and_use_every_sample_alike(weights):
    groups = groups_of(weights, every=True)
    matrix, k = groups.matrix, groups.k
    assert k == (weights if isinstance(weights, int) else len(weights))
    assert len(matrix) <= 4 * B
    torch.testing.assert_close(matrix.sum(1), torch.zeros(len(matrix), dtype=matrix.dtype), atol=1e-12, rtol=0)
    assert ((matrix != 0).sum(1) == k).all()
    assert (matrix != 0).sum(0).unique().numel() == 1
    assert len({tuple(row.tolist()) for row in matrix}) == len(matrix)


def test_a_batch_that_is_smaller_than_a_group_is_refused():
    with pytest.raises(UserError, match=r"k = 5 within a batch need as many samples, but a batch has 4"):
        groups_of(5, every=True, size=4)


class Counting(torch.nn.Module):
    """A student whose logits are its inputs after a batch norm, and who notes the passes."""

    def __init__(self, classes):
        super().__init__()
        self.norm, self.seen = torch.nn.BatchNorm1d(classes).double(), []

    def __call__(self, student, inputs, maps, inside):
        self.seen.append(inputs)
        return {"logits": self.norm(inputs), "embedding": inputs}


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("passes", ["apart", "together", None])
def test_positives_and_negatives_have_batch_statistics_of_their_own(k, passes):
    """As released (apart, the default), against plain loops over listed groups; in-batch samples go together whatever is set."""
    objective = made("ckd-mse", {"labels": "none"} | ({} if passes is None else {"passes": passes}))
    x, count = RNG.normal(size=(B, C)) * 2 + 1, B // k
    weights = group_weights(k)
    learner = Learner(torch.nn.Identity(), objective)
    learner.signals = look = Counting(C)
    groups = listed(count, torch.tensor(weights))
    given = learner(batch_of(Y, {"logits": T}, groups=groups, images=x))["relation"].item()
    places = [i for i in range(B) if weights[i % k] > 0], [i for i in range(B) if weights[i % k] < 0]
    parts = [list(range(B))] if passes == "together" else places
    assert [one.tolist() for one in look.seen] == [x[part].tolist() for part in parts]
    z = np.empty_like(x)
    for part in parts:
        z[part] = (x[part] - x[part].mean(0)) / np.sqrt(x[part].var(0) + 1e-5)
    expected = ((deltas(weights, z) - deltas(weights, T)) ** 2).mean()
    assert given == pytest.approx(expected, abs=1e-5)  # what the student says is taken as float32
    look.seen.clear()
    learner(batch_of(Y, {"logits": T}, groups=in_batch(B, torch.tensor(weights)), images=x))
    assert len(look.seen) == 1

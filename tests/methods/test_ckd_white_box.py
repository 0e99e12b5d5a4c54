"""White-box CKD: the terms on features against brute force over groups in NumPy, and the closed form over every group."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms

from tuition.comparisons import group_weights
from tuition.errors import UserError
from tuition.losses.comparisons import in_batch, listed
from tuition.losses.features import mean_squares

RNG = np.random.default_rng(0)
B, C = 6, 4
Y = RNG.integers(C, size=B)
ONE_HOT = np.eye(C)[Y]
S = {
    "logits": RNG.normal(size=(B, C)),
    "embedding": RNG.normal(size=(B, 5)),
    "map1": np.abs(RNG.normal(size=(B, 3, 4, 4))),
    "map2": np.abs(RNG.normal(size=(B, 5, 4, 4))),
}
T = {
    "logits": RNG.normal(size=(B, C)),
    "embedding": RNG.normal(size=(B, 7)),
    "map1": np.abs(RNG.normal(size=(B, 2, 4, 4))),
    "map2": np.abs(RNG.normal(size=(B, 6, 2, 2))),
}
NAMES = ("ckd-fitnet", "ckd-vid", "ckd-cc")


def groups_of(k, every):
    weights = torch.tensor(group_weights(k))
    return in_batch(B, weights) if every else listed(B // k, weights)


def differences(x, k, every):
    """Δ over every ordered choice of k samples, or over the groups laid end to end: (groups, …)."""
    chosen = permutations(range(B), k) if every else np.arange(B).reshape(-1, k)
    return np.stack([np.tensordot(group_weights(k), x[list(members)], 1) for members in chosen])


def half(x):
    return x.reshape(*x.shape[:2], 2, 2, 2, 2).mean((3, 5))


def conv(x, module):
    return np.einsum("oc,bchw->bohw", module.weight.detach().numpy()[:, :, 0, 0], x)


def norm(x):
    return (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)


def vid_head(layer, x):
    for index in (0, 2, 4):
        x = conv(np.maximum(x, 0) if index else x, layer.head[index])
    return x


def ready(name, settings=None):
    return made(name, settings, context_of(S, T))


def found(objective, groups, student=S, teacher=T):
    return terms(objective, student, batch_of(Y, teacher, groups=groups))[0]


CASES = pytest.mark.parametrize(("k", "every"), [(2, True), (3, True), (2, False), (3, False)])


@CASES
def test_ckd_fitnet(k, every):
    objective = ready("ckd-fitnet")
    given = norm(conv(half(S["map2"]), objective.method.hint.head[0]))
    losses = found(objective, groups_of(k, every))
    assert losses["features"] == pytest.approx(100 * (differences(given - T["map2"], k, every) ** 2).mean(), abs=1e-9)
    # Zero wherever the student's map is the teacher's up to one common map, which no difference shows.
    moved = T | {"map2": given + RNG.normal(size=(6, 2, 2))}
    assert found(objective, groups_of(k, every), teacher=moved)["features"] == pytest.approx(0, abs=1e-9)


@CASES
def test_ckd_vid(k, every):
    objective, expected = ready("ckd-vid"), 0
    for place, size in ((1, lambda x: x), (2, half)):
        layer = objective.method.layers[place - 1]
        layer.scale.data = torch.tensor(scale := RNG.normal(size=len(layer.scale)))
        variance = (np.log1p(np.exp(scale)) + 1e-5)[:, None, None]
        gap = vid_head(layer, size(S[f"map{place}"])) - T[f"map{place}"]
        expected += ((differences(gap, k, every) ** 2 / variance + np.log(variance)) / 2).mean()
    assert found(objective, groups_of(k, every))["features"] == pytest.approx(expected, abs=1e-9)


@CASES
def test_ckd_cc(k, every):
    objective, groups = ready("ckd-cc"), groups_of(k, every)
    heads = objective.method.head, objective.method.teacher_head
    weights = [[value.detach().numpy() for value in (head.weight, head.bias)] for head in heads]
    gaps = []
    for row in groups.matrix.numpy():  # one group after another: its difference first, then the head with its bias
        of = [sum(share * x["embedding"][i] for i, share in enumerate(row)) for x in (S, T)]
        embedded = [w @ delta + b for (w, b), delta in zip(weights, of, strict=True)]
        gaps.append(np.abs(embedded[0] - embedded[1]))
    expected = 0.02 * np.mean([(one * other).sum() for one, other in pairwise(gaps)])
    assert found(objective, groups)["features"] == pytest.approx(expected, abs=1e-9)
    objective.method.teacher_head = objective.method.head
    same = T | {"embedding": S["embedding"] + RNG.normal(size=5)}
    assert found(objective, groups, teacher=same)["features"] == pytest.approx(0, abs=1e-9)


@CASES
@pytest.mark.parametrize("name", NAMES)
def test_the_terms_on_logits_are_those_of_ckd_mse(name, k, every):
    losses = found(ready(name, {"weight_relation": 2.0, "weight_labels": 0.5}), groups_of(k, every))
    for term, weight, target in (("relation", 2, T["logits"]), ("labels", 0.5, ONE_HOT)):
        expected = weight * (differences(S["logits"] - target, k, every) ** 2).mean()
        assert losses[term] == pytest.approx(expected, abs=1e-9), term
    groups = groups_of(k, every)
    plain = found(made("ckd-mse", {}, context_of(S, T)), groups)
    assert {key: value for key, value in found(ready(name), groups).items() if key != "features"} == pytest.approx(
        plain
    )


@pytest.mark.parametrize("name", NAMES)
def test_labels(name):
    groups = groups_of(2, every=True)
    assert "labels" not in found(ready(name, {"labels": "none"}), groups)
    z = S["logits"]
    expected = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(B), Y])
    assert found(ready(name, {"labels": "ce"}), groups)["labels"] == pytest.approx(expected, abs=1e-9)


def test_mean_squares_by_hand():
    """Gaps 0, 2, 4: squares of mean 20/3; the pairs are 2, 2 and 4 apart: (4 + 4 + 16)/3."""
    gap = torch.tensor([[0.0], [2.0], [4.0]])
    pair = torch.tensor([1.0, -1.0])
    assert mean_squares(gap).item() == pytest.approx(20 / 3)
    assert mean_squares(gap, in_batch(3, pair)).item() == pytest.approx(8)
    assert mean_squares(gap[:2], listed(1, pair)).item() == pytest.approx(4)


@pytest.mark.parametrize("name", ["ckd-fitnet", "ckd-vid"])
def test_the_order_of_the_batch_does_not_matter_where_every_group_counts(name):
    order, objective, groups = RNG.permutation(B), ready(name, {"labels": "none"}), groups_of(2, every=True)
    moved = [{key: value[order] for key, value in given.items()} for given in (S, T)]
    assert found(objective, groups) == pytest.approx(found(objective, groups, *moved), abs=1e-9)


def test_nothing_as_large_as_groups_times_map_is_made():
    """In-batch comparisons of maps take the closed form and multiply by no matrix of groups."""
    groups = groups_of(2, every=True)._replace(matrix=None)
    for name in ("ckd-fitnet", "ckd-vid"):
        assert np.isfinite(found(ready(name), groups)["features"])


def test_ckd_fitnet_refuses_a_layer_that_is_not_there():
    with pytest.raises(UserError, match=r"methods.ckd-fitnet.layer: found 3, expected a number from 1 to 2"):
        ready("ckd-fitnet", {"layer": 3})


@pytest.mark.parametrize("name", NAMES)
def test_halves_change_the_features_term_by_no_more_than_their_rounding(name):
    stored = T | {key: T[key].astype(np.float16).astype(np.float64) for key in ("embedding", "map1", "map2")}
    objective, groups = ready(name), groups_of(2, every=False)
    whole = found(objective, groups)["features"]
    assert 0 < abs(found(objective, groups, teacher=stored)["features"] - whole) < 4 * 2**-11 * max(1, abs(whole))


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_bf16_and_large_values_stay_finite(name, every):
    student = {key: torch.tensor(1e4 * x, dtype=torch.float32, requires_grad=True) for key, x in S.items()}
    teacher = {key: torch.tensor(1e4 * x, dtype=torch.float32) for key, x in T.items()}
    objective = made(name, {}, context_of(S, T), dtype=torch.float32)
    groups = groups_of(2, every)
    groups = groups._replace(matrix=groups.matrix.float())
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(objective(student, batch_of(Y, teacher, groups=groups)).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert all(torch.isfinite(x.grad).all() for x in student.values() if x.grad is not None)

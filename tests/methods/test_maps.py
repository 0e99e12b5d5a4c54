"""Methods on maps: each loss against an independent float64 NumPy computation, values by hand, minima, sizes and widths that differ."""

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms

from tuition.errors import UserError
from tuition.losses.layers import paired, same_size
from tuition.methods.nst import by_channels, by_positions

RNG = np.random.default_rng(0)
B = 5
Y = np.zeros(B, dtype=int)
# The student has a stage less than the teacher, a larger last map and a smaller middle one.
STUDENT = {"logits": (3,), "embedding": (7,), "map1": (4, 8, 8), "map2": (6, 4, 4), "map3": (8, 4, 4)}
TEACHER = {"map1": (3, 9, 9), "map2": (5, 8, 8), "map3": (7, 8, 8), "map4": (9, 2, 2)}
PAIRS = (("map1", "map2", 8), ("map2", "map3", 4), ("map3", "map4", 2))  # and the size that they are compared at
NAMES = ("fitnet", "at", "vid", "nst", "reviewkd", "rtk-like")


def random(shapes):
    return {name: np.abs(RNG.normal(size=(B, *shape))) for name, shape in shapes.items()}


def unit(x):
    x = x.reshape(len(x), -1)
    return x / np.sqrt((x**2).sum(1, keepdims=True))


def unactivated(maps):
    return {name.replace("map", "preact"): x - RNG.random(x.shape[1])[:, None, None] for name, x in maps.items()}


def energies(maps):
    """As they are bought, with the pooled signals that come beside them."""
    made = {name.replace("map", "energy"): unit((x**2).mean(1)).reshape(B, *x.shape[2:]) for name, x in maps.items()}
    return made | {name.replace("map", "pooled"): x.mean((2, 3)) for name, x in maps.items()}


S, T = random(STUDENT), random(TEACHER)
ALL = T | energies(T) | unactivated(T) | {"embedding": RNG.normal(size=(B, 9))}


def pool(x, size):
    """Average-pool (…, h, w) to size × size, which divides it."""
    step = x.shape[-1] // size
    return x.reshape(*x.shape[:-2], size, step, size, step).mean((-3, -1))


def conv(x, weight):
    """Any odd kernel, zeros around; weight (out, in, k, k)."""
    k = weight.shape[-1]
    padded = np.pad(x, [(0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    return np.einsum("ocij,bchwij->bohw", weight, windows)


def norm(x):
    axes = (0, *range(2, x.ndim))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def weight(module):
    return module.weight.detach().numpy()


def ready(name, settings=None):
    return made(name, settings, context_of(S, ALL))


def loss(name, student=S, teacher=ALL, objective=None):
    objective = objective or ready(name)
    return terms(objective, student, batch_of(Y, teacher))[0]["teacher"]


def test_the_last_stages_are_paired():
    assert paired(STUDENT, TEACHER) == [("map1", "map2"), ("map2", "map3"), ("map3", "map4")]
    assert paired(STUDENT, ["energy1", "map1"], "energy") == [("map3", "energy1")]
    assert paired([f"map{i}" for i in range(1, 12)], ["map9", "map10"])[0] == ("map10", "map9")
    for whose, student, teacher in (("the teacher's outputs", S, ["logits"]), ("the student", ["logits"], T)):
        with pytest.raises(UserError, match=f"{whose}: found logits; this method needs map1"):
            paired(student, teacher)


def test_the_larger_is_pooled_in_each_direction():
    x = torch.arange(16.0).view(1, 1, 8, 2)
    one, other = same_size(x, torch.ones(1, 1, 4, 4))
    assert (one.shape, one.flatten().tolist()) == (other.shape, [1, 2, 5, 6, 9, 10, 13, 14])


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_fitnet(layer):
    objective = ready("fitnet", {"layer": layer})
    ours, theirs = S[f"map{layer}"], T[f"map{layer + 1}"]
    size = min(ours.shape[-1], theirs.shape[-1])
    given = norm(conv(pool(ours, size), weight(objective.method.hint.head[0])))
    assert loss("fitnet", objective=objective) == pytest.approx(
        100 * ((given - pool(theirs, size)) ** 2).mean(), abs=1e-9
    )
    matched = ALL | {f"map{layer + 1}": given}
    assert loss("fitnet", teacher=matched, objective=objective) == pytest.approx(0, abs=1e-9)


def test_fitnet_by_hand():
    """An identity head and a student that is off by one everywhere: 100 · 1."""
    objective = made("fitnet", {"layer": 1}, context_of(one := {"map1": np.ones((1, 2, 1, 1))}, one)).eval()
    objective.method.hint.head[0].weight.data = torch.eye(2, dtype=torch.float64)[:, :, None, None]
    objective.method.hint.head[1].running_var.fill_(1 - 1e-5)
    student = {"logits": np.zeros((1, 3)), "map1": np.array([2.0, -1]).reshape(1, 2, 1, 1)}
    given, _ = terms(objective, student, batch_of([0], {"map1": student["map1"] - 1}))
    assert given["teacher"] == pytest.approx(100, abs=1e-9)


def test_fitnet_refuses_a_layer_that_is_not_there():
    with pytest.raises(UserError, match="layer: found 4, expected a number from 1 to 3"):
        ready("fitnet", {"layer": 4})


def test_at():
    expected = 0
    for ours, theirs, size in PAIRS:
        a, b = pool((S[ours] ** 2).mean(1), size), pool((T[theirs] ** 2).mean(1), size)
        expected += 1000 * ((unit(a) - unit(b)) ** 2).mean()
    assert loss("at") == pytest.approx(expected, abs=1e-9)


def test_at_by_hand_and_at_its_minimum():
    """Energies (1, 0) and (0, 1) differ by one in both places; channels' number and scale do not matter."""
    student = {"logits": np.zeros((1, 3)), "map1": np.array([[[[2.0, 0]]]])}
    teacher = {"energy1": np.array([[[0.0, 1]]])}
    objective = made("at", {}, context_of(student, teacher))
    assert terms(objective, student, batch_of([0], teacher))[0]["teacher"] == pytest.approx(1000, abs=1e-9)
    same = {"logits": S["logits"]} | {f"map{i}": 7 * np.repeat(T[f"map{i + 1}"], 2, axis=1) for i in (1, 2, 3)}
    assert loss("at", student=same) == pytest.approx(0, abs=1e-9)


def test_vid():
    objective, expected = ready("vid"), 0
    for place, (ours, theirs, size) in enumerate(PAIRS):
        layer = objective.method.layers[place]
        layer.scale.data = torch.tensor(scale := RNG.normal(size=len(layer.scale)))
        x = pool(S[ours], size)
        for index in (0, 2, 4):
            x = conv(np.maximum(x, 0) if index else x, weight(layer.head[index]))
        variance = (np.log1p(np.exp(scale)) + 1e-5)[:, None, None]
        expected += (((x - pool(T[theirs], size)) ** 2 / variance + np.log(variance)) / 2).mean()
    assert loss("vid", objective=objective) == pytest.approx(expected, abs=1e-9)


def test_vid_begins_with_a_variance_of_five():
    """A regressor that is right: ½ ln 5 a layer is left."""
    objective = ready("vid")
    for layer in objective.method.layers:
        layer.head[4].weight.data.zero_()
    assert loss("vid", teacher={name: 0 * x for name, x in T.items()}, objective=objective) == pytest.approx(
        3 * np.log(5) / 2, abs=1e-6
    )


def kernel(a, b):
    """The mean of (x·y)² over all pairs of channels (c, p) of one sample, by loops."""
    return np.mean([[(x @ y) ** 2 for y in b] for x in a])


def test_nst():
    expected = 0
    for ours, theirs, size in PAIRS:
        a, b = pool(S[ours], size), pool(T[theirs], size)
        for x, y in ((unit(x), unit(y)) for x, y in zip(a, b, strict=True)):
            expected += 50 * (kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)) / B
    assert loss("nst") == pytest.approx(expected, abs=1e-9)
    a, b = (torch.tensor(RNG.normal(size=(B, wide, 9))) for wide in (6, 4))
    assert by_positions(a, b).item() == pytest.approx(by_channels(a, b).item(), abs=1e-9)


def test_nst_by_hand_and_at_its_minimum():
    """Channels (1, 0) and (0, 1): 1 + 1 − 0. The order of channels does not matter."""
    student = {"logits": np.zeros((1, 3)), "map1": np.array([[[[2.0, 0]]]])}
    teacher = {"map1": np.array([[[[0.0, 3]]]])}
    objective = made("nst", {}, context_of(student, teacher))
    assert terms(objective, student, batch_of([0], teacher))[0]["teacher"] == pytest.approx(50 * 2, abs=1e-9)
    same = {"logits": S["logits"]} | {f"map{i}": T[f"map{i + 1}"][:, ::-1].copy() for i in (1, 2, 3)}
    assert loss("nst", student=same) == pytest.approx(0, abs=1e-9)


def hcl(a, b):
    gap, scales = a - b, [scale for scale in (4, 2, 1) if scale < a.shape[-1]]
    parts = [(gap**2).mean(), *((pool(gap, scale) ** 2).mean() for scale in scales)]
    return np.average(parts, weights=0.5 ** np.arange(len(parts)))


@pytest.mark.parametrize(
    ("settings", "step", "scale"), [({}, 0, 5 / 20), ({}, 195, 5), ({"on": "map"}, 50, 5 * 6 / 20)]
)
def test_reviewkd(settings, step, scale):
    """The levels embedding, map3, map2, map1 against the teacher's embedding and its maps before (or after) activation."""
    objective = ready("reviewkd", settings)
    expected, deeper = 0, None
    assert objective.method.signals == (settings.get("on", "preact"), "embedding")
    for place, name in enumerate(("embedding", "map3", "map2", "map1")):
        fuse = objective.method.fusions[place]
        mine, wanted = (S[name], ALL[f"{settings.get('on', 'preact')}{5 - place}"] if place else ALL["embedding"])
        if not place:
            mine, wanted = (x.reshape(B, -1, 1, 1) for x in (mine, wanted))
        x = norm(conv(mine, weight(fuse.enter[0])))
        if place:
            deeper = np.repeat(np.repeat(deeper, x.shape[2] // deeper.shape[2], 2), x.shape[3] // deeper.shape[3], 3)
            both = conv(np.concatenate([x, deeper], 1), weight(fuse.attention))
            a = 1 / (1 + np.exp(-both - fuse.attention.bias.detach().numpy()[:, None, None]))
            x = a[:, :1] * x + a[:, 1:] * deeper
        deeper, size = x, min(x.shape[-1], wanted.shape[-1])
        expected += hcl(pool(norm(conv(x, weight(fuse.leave[0]))), size), pool(wanted, size))
    given = terms(objective, S, batch_of(Y, ALL, step=step))[0]["teacher"]
    assert given == pytest.approx(scale * expected, abs=1e-9)


@pytest.mark.parametrize("settings", [{}, {"keep": 1}, {"keep": 9}, {"keep": 1, "keys": "random"}])
def test_rtk_like(settings):
    objective = ready("rtk-like", settings)
    method, keep = objective.method, min(settings.get("keep", 2), 3)
    places = [p.detach().numpy() for p in method.places]
    keys = [np.maximum(norm(S[f"map{s + 1}"].mean((2, 3)) @ weight(method.key[s][0]).T), 0) for s in range(3)]
    order = torch.rand(B, 4, 3, generator=torch.Generator().manual_seed(0)).numpy()  # as batch_of's generator draws
    expected = 0
    for t in range(4):
        query = norm(ALL[f"pooled{t + 1}"] @ weight(method.query[t][0]).T)
        scores = np.stack([(query * keys[s]).sum(1) + places[0][t] @ places[1][s] for s in range(3)], 1) / np.sqrt(128)
        theirs = T[f"map{t + 1}"]
        for b in range(B):
            best = np.argsort(-(order[b, t] if "keys" in settings else scores[b]))[:keep]
            chances = np.exp(scores[b, best]) / np.exp(scores[b, best]).sum()
            for chance, s in zip(chances, best, strict=True):
                pair = [torch.tensor((x[b : b + 1] ** 2).mean(1)) for x in (S[f"map{s + 1}"], theirs)]
                one, other = (unit(x.numpy()) for x in same_size(*pair))
                expected += 1000 * chance * ((one - other) ** 2).sum() / theirs[0, 0].size / B
    assert loss("rtk-like", objective=objective) == pytest.approx(expected, abs=1e-9)


def test_rtk_like_keeps_as_many_keys_as_asked_and_is_zero_for_equal_energies():
    objective = ready("rtk-like", {"keep": 2})
    weights = objective.method.attention({name: torch.tensor(x) for name, x in S.items()}, batch_of(Y, ALL))
    weights = weights.detach().numpy()
    assert ((weights > 0).sum(2) == 2).all()
    np.testing.assert_allclose(weights.sum(2), 1)
    flat = {f"map{i}": np.ones((B, c, 4, 4)) for i, c in ((1, 4), (2, 6), (3, 8))}
    wanted = ALL | {f"energy{i}": np.full((B, 2, 2), 0.5) for i in range(1, 5)}
    assert loss("rtk-like", S | flat, wanted, objective) == pytest.approx(0, abs=1e-9)
    with pytest.raises(UserError, match=r"keep: found 0\. Input should be greater than or equal to 1"):
        ready("rtk-like", {"keep": 0})


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_batch_does_not_matter(name):
    objective, order = ready(name), RNG.permutation(B)
    moved = [{key: value[order] for key, value in given.items()} for given in (S, ALL)]
    assert loss(name, objective=objective) == pytest.approx(loss(name, *moved, objective=objective), abs=1e-9)


@pytest.mark.parametrize("name", ["fitnet", "at", "nst", "reviewkd", "vid"])
def test_halves_change_the_loss_by_no_more_than_their_rounding(name):
    """A relative error of 2⁻¹¹ in each value moves the loss by at most a few times that."""
    stored = {key: value.astype(np.float16).astype(np.float64) for key, value in ALL.items()}
    objective = ready(name)
    whole = loss(name, objective=objective)
    assert 0 < abs(loss(name, teacher=stored, objective=objective) - whole) < 4 * 2**-11 * max(1, abs(whole))


@pytest.mark.parametrize("scale", [1e4, 0])
@pytest.mark.parametrize("name", NAMES)
def test_bf16_large_values_and_dead_maps_stay_finite(name, scale):
    student = {key: torch.tensor(scale * value, dtype=torch.float32, requires_grad=True) for key, value in S.items()}
    teacher = {key: scale * value for key, value in ALL.items()} | energies(T)
    teacher = {key: torch.tensor(value, dtype=torch.float32) for key, value in teacher.items()}
    objective = made(name, {}, context_of(S, ALL), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = sum(objective(student, batch_of(Y, teacher)).values())
    found.backward()
    assert torch.isfinite(found)
    assert found.dtype == torch.float32
    assert all(torch.isfinite(value.grad).all() for value in student.values() if value.grad is not None)

"""Methods that train in stages: what each stage trains, its loss against NumPy in float64, and what stays as it is."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms

from tuition.errors import UserError
from tuition.methods import build
from tuition.methods.ab import unpacked
from tuition.models import build as build_model
from tuition.models import signals

RNG = np.random.default_rng(0)
B, C = 6, 3
Y = RNG.integers(C, size=B)
S = {
    "logits": RNG.normal(size=(B, C)),
    "embedding": RNG.normal(size=(B, 8)),
    "map1": np.abs(RNG.normal(size=(B, 4, 8, 8))),
    "map2": np.abs(RNG.normal(size=(B, 6, 4, 4))),
    "map3": np.abs(RNG.normal(size=(B, 8, 4, 4))),
    "stem": RNG.normal(size=(B, 3, 8, 8)),
}
S |= {f"preact{i}": S[f"map{i}"] - RNG.random(S[f"map{i}"].shape) for i in (1, 2, 3)}
STAGED = ("ab", "fsp", "pkt-h")


def ce(logits, y):
    logits = logits - logits.max(1, keepdims=True)
    return -(logits - np.log(np.exp(logits).sum(1, keepdims=True)))[np.arange(len(y)), y].mean()


def norm(x):
    return (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)


def connected(x, module):
    return norm(np.einsum("oc,bchw->bohw", module[0].weight.detach().numpy()[:, :, 0, 0], x))


def signs_of(maps):
    return {f"sign{i}": np.packbits(x > 0, axis=1) for i, x in enumerate(maps, start=1)}


SIGNED = [RNG.normal(size=shape) for shape in ((B, 3, 8, 8), (B, 10, 4, 4), (B, 16, 2, 2))]
SIGNS = signs_of(SIGNED)
FLOWS = {"flow1": RNG.random((B, 3, 4)), "flow2": RNG.random((B, 4, 6)), "flow3": RNG.random((B, 6, 8))}
EMBEDDING = {"embedding": RNG.normal(size=(B, 5))}
TEACHERS = {"ab": SIGNS, "fsp": FLOWS, "pkt-h": EMBEDDING}


def context(teacher, **more):
    return context_of(S, teacher, steps=100, per_epoch=10, make_student=small, **more)


def small(arch="resnet8"):
    return build_model(arch, channels=1, classes=C, size=(8, 8))


def ready(name, settings=None):
    return made(name, settings, context(TEACHERS[name]))


IMAGES = RNG.normal(size=(B, 1, 8, 8))


def found(objective, name, step, student=S, teacher=None):
    return terms(objective, student, batch_of(Y, teacher or TEACHERS[name], step=step, images=IMAGES))


def test_bits_are_unpacked_as_numpy_packs_them():
    packed = RNG.integers(256, size=(B, 2, 3, 5)).astype(np.uint8)
    np.testing.assert_array_equal(unpacked(torch.tensor(packed)).numpy(), np.unpackbits(packed, axis=1))


@pytest.mark.parametrize("own", ["preact", "map"])
def test_ab(own):
    objective, expected = ready("ab", {} if own == "preact" else {"own": own}), 0
    for place, theirs in enumerate(SIGNED):
        x, on = S[f"{own}{place + 1}"], np.zeros((B, -(-theirs.shape[1] // 8) * 8, *theirs.shape[2:]))
        on[:, : theirs.shape[1]] = theirs > 0  # what fills the last byte is off
        if on.shape[2] < x.shape[2]:
            x = x.reshape(B, 8, 2, 2, 2, 2).mean((3, 5))
        given = connected(x, objective.method.connectors[place])
        hinge = np.where(on > 0, np.maximum(0, 1 - given), np.maximum(0, 1 + given)) ** 2
        expected += 3 / 1000 * 2.0 ** (place - 2) * hinge.sum((1, 2, 3)).mean()
    assert found(objective, "ab", 29)[0] == pytest.approx({"teacher": expected, "labels": 0}, abs=1e-9)


def test_ab_by_hand_and_at_its_minimum():
    """One unit that should be on and is 0.25: (1 − 0.25)² · 3/1000; the seven bits beside it are off at −1: nothing."""
    given = {"logits": np.zeros((1, C)), "preact1": np.ones((1, 1, 1, 1))}
    signs = signs_of([np.ones((1, 1, 1, 1))])
    objective = made("ab", {}, context_of(given, signs)).eval()
    connect = objective.method.connectors[0]
    connect[1].running_var.fill_(1 - 1e-5)
    for unit, expected in ((0.25, 0.75**2), (1.0, 0), (-1.0, 4), (3.0, 0)):
        connect[0].weight.data = torch.tensor([unit, *[-1.0] * 7], dtype=torch.float64)[:, None, None, None]
        assert terms(objective, given, batch_of([0], signs))[0]["teacher"] == pytest.approx(0.003 * expected, abs=1e-9)


def test_a_pooled_unit_of_the_teacher_is_on_where_most_of_it_is():
    signs = signs_of([np.array([[1, 1, 1, -1], [1, -1, 1, -1]] * 2).reshape(1, 1, 4, 4)])
    student = {"logits": np.zeros((1, C)), "preact1": np.ones((1, 1, 2, 2))}
    objective = made("ab", {}, context_of(student, signs)).eval()
    connect = objective.method.connectors[0]
    connect[1].running_var.fill_(1 - 1e-5)
    connect[0].weight.data = torch.tensor([1.0, *[-1.0] * 7], dtype=torch.float64)[:, None, None, None]
    # Three of four on, and two of four, which is off: there a response of 1 costs (1 + 1)², in two of the four places.
    assert terms(objective, student, batch_of([0], signs))[0]["teacher"] == pytest.approx(0.003 * 8, abs=1e-9)


def flow(below, above):
    if below.shape[2] > above.shape[2]:
        below = below.reshape(B, below.shape[1], 4, 2, 4, 2).mean((3, 5))
    return np.einsum("bchw,bdhw->bcd", below, above) / (above.shape[2] * above.shape[3])


def test_fsp():
    """From the stem on, average-pooled, weight 1."""
    names = ("stem", "map1", "map2", "map3")
    flows = {f"flow{i}": flow(S[a], S[b]) for i, (a, b) in enumerate(pairwise(names), start=1)}
    expected = sum(((flows[name] - FLOWS[name]) ** 2).mean() for name in flows)
    assert found(ready("fsp"), "fsp", 0)[0] == pytest.approx({"teacher": expected, "labels": 0}, abs=1e-9)
    assert found(ready("fsp"), "fsp", 0, teacher=flows)[0]["teacher"] == pytest.approx(0, abs=1e-9)


def test_fsp_by_hand_and_with_one_flow_of_the_teacher():
    """Maps of 2 and 3 in four places: G = 6, the teacher says 4: 2². The last pair is the one compared."""
    student = {"logits": np.zeros((1, C)), **{f"map{i}": np.full((1, 1, 2, 2), float(i)) for i in (1, 2, 3)}}
    teacher = {"flow1": np.full((1, 1, 1), 4.0)}
    objective = made("fsp", {}, context_of(student, teacher))
    assert terms(objective, student, batch_of([0], teacher))[0]["teacher"] == pytest.approx(4, abs=1e-9)


def test_fsp_refuses_other_widths():
    with pytest.raises(
        UserError, match="last maps are 3, 4, 6, 8 channels wide, the teacher's 3, 4, 6, 16; they must be the same"
    ):
        made("fsp", {}, context(FLOWS | {"flow3": np.zeros((B, 6, 16))}))
    with pytest.raises(UserError, match="needs two maps of both"):
        made("fsp", {}, context({"logits": np.zeros((B, C))}))


@pytest.mark.parametrize("name", ["ab", "fsp"])
def test_after_the_first_stage_only_the_labels_train(name):
    objective = ready(name)
    labels, gradients = found(objective, name, 29)
    assert labels["labels"] == 0
    read = "preact1" if name == "ab" else "map1"
    assert gradients[read].any()
    assert gradients["logits"] is None
    after, gradients = found(objective, name, 30)
    assert after == pytest.approx({"teacher": 0, "labels": ce(S["logits"], Y)}, abs=1e-12)
    assert gradients[read] is None
    assert found(ready(name, {"share": 0.0}), name, 0)[0]["labels"] > 0


@pytest.mark.parametrize("name", STAGED)
def test_a_share_is_at_most_one(name):
    with pytest.raises(UserError, match=rf"methods.{name}.share: found 1.5, expected a number from 0 to 1"):
        build(name, {"share": 1.5})


def chances(x):
    unit = x / np.sqrt((x**2).sum(1, keepdims=True))
    distance = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2))
    return [k / k.sum(1, keepdims=True) for k in ((1 + unit @ unit.T) / 2, 1 / (1 + distance))]


def jeffreys(a, b):
    return sum(((p - q) * np.log(p / q)).sum(1).mean() for p, q in zip(chances(a), chances(b), strict=True))


def looked(auxiliary):
    given = signals(copy.deepcopy(auxiliary), torch.tensor(IMAGES), maps=True)
    return {name: value.detach().numpy() for name, value in given.items()}


def test_pkt_h_first_trains_the_auxiliary_alone():
    objective = ready("pkt-h", {"weight": 3.0})
    auxiliary = objective.method.auxiliary
    assert auxiliary.arch == "resnet8x2"
    given = looked(auxiliary)
    losses, gradients = found(objective, "pkt-h", 39)
    expected = {
        "teacher": 3 * jeffreys(given["embedding"], EMBEDDING["embedding"]),
        "labels": ce(given["logits"], Y),
    }
    assert losses == pytest.approx(expected, abs=1e-9)
    assert all(value is None for value in gradients.values())
    assert all(parameter.grad is not None for parameter in auxiliary.parameters())


@pytest.mark.parametrize(("step", "epoch"), [(40, 0), (49, 0), (75, 3)])
def test_pkt_h_then_trains_the_student_layer_by_layer(step, epoch):
    objective = ready("pkt-h")
    auxiliary = objective.method.auxiliary
    before = copy.deepcopy(auxiliary.state_dict())
    given = looked(copy.deepcopy(auxiliary).eval())
    losses, gradients = found(objective.train(), "pkt-h", step)
    early = sum(jeffreys(S[name].mean((2, 3)), given[name].mean((2, 3))) for name in ("map1", "map2"))
    expected = 100 * 0.7**epoch * early + jeffreys(S["embedding"], given["embedding"])
    assert losses == pytest.approx({"teacher": expected, "labels": ce(S["logits"], Y)}, abs=1e-9)
    assert gradients["map1"].any()
    assert gradients["map3"] is None  # the embedding stands for the last
    assert all(parameter.grad is None for parameter in auxiliary.parameters())
    assert all(torch.equal(value, before[name]) for name, value in auxiliary.state_dict().items())


def test_pkt_h_is_zero_where_the_student_is_the_auxiliary():
    objective = ready("pkt-h")
    same = looked(copy.deepcopy(objective.method.auxiliary).eval())
    assert found(objective, "pkt-h", 40, student=same)[0]["teacher"] == pytest.approx(0, abs=1e-9)


def test_pkt_h_stays_finite_where_samples_coincide_or_are_opposite():
    objective = ready("pkt-h")
    teacher = {"embedding": np.repeat([[1.0, 0], [-1, 0]], 3, axis=0)}
    flat = S | {"embedding": np.zeros((B, 8)), "map1": np.zeros((B, 4, 8, 8))}
    for step in (0, 40):
        assert np.isfinite(found(objective, "pkt-h", step, student=flat, teacher=teacher)[0]["teacher"])


MAPS = {"map1": np.abs(RNG.normal(size=(40, 6, 2, 2)))}


def factor(module, x):
    return module(torch.tensor(x)).detach().numpy()


def test_ft():
    objective = made("ft", {"pretrain_steps": 2}, context(MAPS))
    method = objective.method
    ours = factor(copy.deepcopy(method.translator), S["map3"]).reshape(B, 3, 2, 2, 2, 2).mean((3, 5))
    theirs = factor(copy.deepcopy(method.paraphraser).eval(), MAPS["map1"][:B])
    ours, theirs = (x.reshape(B, -1) / np.sqrt((x.reshape(B, -1) ** 2).sum(1, keepdims=True)) for x in (ours, theirs))
    batch = {"map1": MAPS["map1"][:B]}
    losses, gradients = terms(objective.train(), S, batch_of(Y, batch))
    assert losses["teacher"] == pytest.approx(200 * np.abs(ours - theirs).mean(), abs=1e-9)
    assert gradients["map3"].any()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in method.paraphraser.parameters())
    method.translator = torch.nn.Sequential(copy.deepcopy(method.paraphraser).eval())
    same = S | {"map3": batch["map1"]}
    assert terms(objective, same, batch_of(Y, batch))[0]["teacher"] == pytest.approx(0, abs=1e-9)


def test_ft_prepares_its_paraphraser_alike_each_time_and_leaves_it():
    one, two = (made("ft", {"pretrain_steps": 5}, context(MAPS)).method for _ in range(2))
    fresh = made("ft", {"pretrain_steps": 0}, context(MAPS)).method
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert not torch.equal(one.paraphraser[0].weight, fresh.paraphraser[0].weight)
    assert torch.equal(one.translator[0].weight, fresh.translator[0].weight)
    before = copy.deepcopy(one.paraphraser.state_dict())
    one.train()({name: torch.tensor(x) for name, x in S.items()}, batch_of(Y, {"map1": MAPS["map1"][:B]}))
    assert all(torch.equal(value, before[name]) for name, value in one.paraphraser.state_dict().items())


@pytest.mark.parametrize("name", [*STAGED, "ft"])
def test_bf16_and_large_values_stay_finite(name):
    teacher = MAPS if name == "ft" else TEACHERS[name]
    teacher = {key: x if x.dtype == np.uint8 else (1e3 * x).astype(np.float32) for key, x in teacher.items()}
    objective = made(name, {"pretrain_steps": 1} if name == "ft" else {}, context(teacher), dtype=torch.float32)
    for step in (0, 50):
        student = {key: torch.tensor(1e3 * x, dtype=torch.float32, requires_grad=True) for key, x in S.items()}
        batch = batch_of(Y, {key: x[:B] for key, x in teacher.items()}, step=step, images=IMAGES.astype(np.float32))
        with torch.autocast("cpu", torch.bfloat16):
            loss = sum(objective(student, batch).values())
        loss.backward()
        assert torch.isfinite(loss)
        assert loss.dtype == torch.float32
        assert all(torch.isfinite(x.grad).all() for x in student.values() if x.grad is not None)

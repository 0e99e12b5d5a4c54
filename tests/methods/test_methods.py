"""What holds for every method: it says what it needs, trains on fabricated signals, stays finite, leaves the teacher alone, resumes."""

import copy
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tuition.comparisons import group_weights
from tuition.errors import UserError
from tuition.losses.comparisons import listed
from tuition.methods import METHODS, build, card, check_settings, load_class, module_name
from tuition.methods.protocol import Rest
from tuition.models import signals
from tuition.models.network import Maps
from tuition.signals import FAMILIES
from tuition.training.loop import Learner

N, B, CLASSES, SIDE, STEPS = 24, 12, 10, 8, 100
OURS, THEIRS = (8, 16, 32), (16, 32, 64)
QUICK = {"ft": {"pretrain_steps": 2}}  # what would take seconds by default
SAME_WIDTHS = {"fsp"}  # a method that refuses a teacher of other widths
LOOK_INSIDE = ("mixup", "mixup3", "cutmix", "mixkd", "mix-cached", "bss", "r2kd", "simkd", "fixmatch", "uda")
NO_TEACHER = {"ce", "label-smoothing", "tf-kd", "dml", "one"}


class Tiny(nn.Module):
    """A student of three stages with 8×8 maps, in the interface of `tuition.models`."""

    def __init__(self):
        super().__init__()
        widths = (1, *OURS)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide_in, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU())
            for wide_in, wide in zip(widths, OURS, strict=False)
        )
        self.fc = nn.Linear(OURS[-1], CLASSES)

    def forward_maps(self, x):
        maps, preact = [], []
        for stage in self.stages:
            preact.append(stage[:-1](x))
            x = stage[-1](preact[-1])
            maps.append(x)
        return Maps(None, maps, preact, x)

    def forward_features(self, x):
        return self.forward_maps(x).last

    def last_stage_module(self):
        return self.stages[-1]

    def forward_head(self, features, pre_logits=False):
        embedding = features.mean((2, 3))
        return embedding if pre_logits else self.fc(embedding)

    def get_classifier(self):
        return self.fc

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


def bought(widths, scale=1.0):
    """Everything that a teacher of three stages can say of N samples, as it is stored; logits up to `scale` times a few."""
    draw = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=draw)

    maps = [F.relu(normal(N, width, SIDE, SIDE)) for width in widths]
    energies = [one.square().mean(1) for one in maps]
    weight, bias = normal(CLASSES, widths[-1]), normal(CLASSES)
    teacher = {"embedding": maps[-1].mean((2, 3)).half(), "logits": scale * 3 * normal(N, CLASSES)}
    for place, (one, energy) in enumerate(zip(maps, energies, strict=True), start=1):
        bits = np.packbits((one > 0).numpy(), axis=1)
        teacher |= {
            f"pooled{place}": one.mean((2, 3)).half(),
            f"energy{place}": (energy / energy.flatten(1).norm(dim=1)[:, None, None]).half(),
            f"map{place}": one.half(),
            f"preact{place}": (one - 0.1).half(),
            f"sign{place}": torch.from_numpy(bits),
        }
    for place, (one, other) in enumerate(pairwise(maps), start=1):
        teacher[f"flow{place}"] = (torch.einsum("nahw,nbhw->nab", one, other) / SIDE**2).half()
    teacher["features"] = maps[-1].half()
    teacher["pruned"] = teacher["logits"] + scale * normal(N, CLASSES)
    teacher["supporting"] = torch.randint(0, 256, (N, 1, SIDE, SIDE), generator=draw, dtype=torch.uint8)
    teacher["supporting_logits"] = scale * normal(N, CLASSES)
    teacher["difficulty"] = torch.rand(N, 1, generator=draw)
    teacher["label"] = teacher["logits"].argmax(1).int()
    constants = {"classifier_weight": weight, "classifier_bias": bias}
    mixed = {
        "inputs": torch.randint(0, 256, (B, 1, SIDE, SIDE), generator=draw, dtype=torch.uint8),
        "logits": scale * normal(B, CLASSES),
        "first": torch.randint(0, N, (B,), generator=draw),
        "second": torch.randint(0, N, (B,), generator=draw),
        "lam": torch.rand(B, generator=draw),
    }
    return teacher, constants, mixed


def of_others(scale=1.0):
    """What two further teachers said of N samples, one of which said nothing of some."""
    draw = torch.Generator().manual_seed(4)
    others = {name: {"logits": scale * torch.randn(N, CLASSES, generator=draw)} for name in ("second", "third")}
    return others, {"second": torch.ones(N, dtype=torch.bool), "third": torch.arange(N) % 3 > 0}


def rest_of(context, pixels):
    """Samples that were not bought, half of them with a label."""
    draw = torch.Generator().manual_seed(5)
    labels = torch.where(torch.arange(N - B) % 2 == 0, torch.randint(0, CLASSES, (N - B,), generator=draw), -1)
    target = torch.rand(N - B, CLASSES, generator=draw).softmax(1)
    return Rest(context.normalise(pixels[B:]), target, torch.rand(N - B, generator=draw), labels)


def learner_of(name, scale=1.0, student_scale=1.0):
    """A student and the objective of `name` as one training has them, and its batch of a step."""
    torch.manual_seed(0)
    base = name.removesuffix("+kd")
    student, objective = Tiny(), build(name, QUICK.get(base))
    with torch.no_grad():
        student.fc.weight *= student_scale
    teacher, constants, mixed = bought(OURS if base in SAME_WIDTHS else THEIRS, scale)
    others, present = of_others(scale) if card(base).several else ({}, {})
    pixels = torch.randint(0, 256, (N, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (N,), generator=torch.Generator().manual_seed(3))
    labels[:B:2] = teacher["logits"].argmax(1)[:B:2]  # a teacher that is right at times
    with torch.no_grad():
        shapes = signals(student.eval(), torch.zeros(2, 1, SIDE, SIDE), maps=True, inside=objective.inside)
    context = context_of(
        shapes,
        teacher,
        labels=labels,
        classes=CLASSES,
        steps=STEPS,
        inputs=pixels,
        constants=constants,
        mixed=mixed,
        make_student=lambda arch=None: Tiny(),
        student_model=student,
        others=others,
        present=present,
    )
    objective.setup(context)
    learner = Learner(objective.wrap(student), objective).train()

    def batch(step=0):
        theirs = {
            key: values[:B].float().requires_grad_() if values.is_floating_point() else values[:B]
            for key, values in teacher.items()
        }
        groups = listed(B // 2, torch.from_numpy(group_weights(2)).float())
        images = context.normalise(pixels[:B])
        further = {
            name: {key: value[:B].requires_grad_() for key, value in one.items()} for name, one in others.items()
        }
        answered = {name: one[:B] for name, one in present.items()}
        return batch_of(
            labels[:B],
            theirs,
            groups=groups,
            images=images,
            step=step,
            seed=step,
            others=further,
            present=answered,
            rest=rest_of(context, pixels) if card(base).rest_use != "added" else None,
        )

    return learner, batch


def test_every_method_has_a_file_of_its_name_and_says_what_it_needs():
    for name in METHODS:
        about = card(name)
        assert about.source
        assert about.evidence in ("code", "abs", "mem", "ours"), name
        assert set(about.signals) <= {*FAMILIES, "difficulty", "label"}, (
            name
        )  # of several experts (`ces-kd`), of any teacher (`pseudo-label`)
        assert about.compares == name.startswith("ckd"), name
        assert (about.calls == 0) == (about.signals == ()) == (name in NO_TEACHER), name
        assert about.views == ("mixed" if name == "mixkd" else "clean")
        assert about.several == (name == "multi-kd")
        assert about.inputs == (("images",) if name in LOOK_INSIDE else ()), name
        assert load_class(name).__module__ == f"tuition.methods.{module_name(name)}"
        assert sys.modules[load_class(name).__module__].__doc__.startswith(f"`{name}`: "), name


@pytest.mark.parametrize("name", METHODS)
def test_steps_of_every_method(name):
    """At first, midway and at last: finite terms and gradients, and nothing reaches the teacher. A method may have phases, so what it
    trains gets its gradient in one of them; the student does at last."""
    build(name)  # with its defaults
    learner, batch = learner_of(name)
    missing = {key for key, one in learner.objective.named_parameters() if one.requires_grad}
    for step in (0, STEPS // 2, STEPS - 1):
        learner.zero_grad()
        given = batch(step)
        terms = learner(given)
        assert all(value.shape == () and torch.isfinite(value) for value in terms.values()), terms
        sum(terms.values()).backward()
        for key, one in learner.named_parameters():
            assert one.grad is None or torch.isfinite(one.grad).all(), key
        said = [given.teacher, *given.others.values()]
        for key, value in [pair for one in said for pair in one.items()]:
            assert value.grad is None or not value.grad.any(), f"a gradient reaches the teacher's {key}"
        missing -= {key for key, one in learner.objective.named_parameters() if one.grad is not None}
    assert not missing
    assert any(one.grad is not None and one.grad.any() for one in learner.student.parameters())


class Reads(TorchDispatchMode):
    """Notes every operation that makes the host wait for a value of the device."""

    WAIT = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.masked_select)

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masked = func.overloadpacket is torch.ops.aten.index and any(
            one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        if func.overloadpacket in self.WAIT or masked:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_waits_for_no_value_of_the_device(name, monkeypatch):
    # On a CPU alone, one_hot looks at its labels.
    monkeypatch.setattr(F, "one_hot", lambda labels, classes: torch.eye(classes, dtype=torch.int64)[labels])
    learner, batch = learner_of(name)
    for step in (0, STEPS - 1):
        given = batch(step)
        with Reads() as reads:
            sum(learner(given).values()).backward()
        assert reads.seen == []


def test_reads_of_the_device_are_noticed():
    value = torch.arange(3.0)
    for read in (lambda: float(value.sum()), lambda: value[value > 1], lambda: 1 if value.sum() > 2 else 0):
        with Reads() as reads:
            read()
        assert reads.seen


@pytest.mark.parametrize("name", METHODS)
def test_half_precision_and_large_values_stay_finite(name):
    learner, batch = learner_of(name, scale=1e3, student_scale=1e3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(learner(batch()).values())
    loss.backward()
    assert torch.isfinite(loss)
    for key, one in learner.named_parameters():
        assert one.grad is None or torch.isfinite(one.grad).all(), key


def test_no_two_methods_are_the_same():
    losses = {}
    for name in METHODS:
        learner, batch = learner_of(name)
        losses[name] = sum(learner(batch()).values()).item()
    ordered = sorted(losses, key=losses.get)
    assert [pair for pair in pairwise(ordered) if abs(losses[pair[0]] - losses[pair[1]]) < 1e-7] == []


@pytest.mark.parametrize("name", METHODS)
def test_a_state_carries_on_in_another_process(name):
    """A training resumes with the same seed, which draws what `setup` draws; what trained since is in the state."""
    learner, batch = learner_of(name)
    optimizer = torch.optim.SGD([one for one in learner.parameters() if one.requires_grad], lr=1e-3)
    for step in range(2):
        optimizer.zero_grad()
        sum(learner(batch(step)).values()).backward()
        optimizer.step()
    state = copy.deepcopy(learner.state_dict())
    assert all(torch.isfinite(value).all() for value in state.values())
    expected = learner(batch(2))
    fresh, _ = learner_of(name)
    before = fresh(batch(2))
    fresh.load_state_dict(state)
    found = fresh(batch(2))
    assert {key: value.item() for key, value in found.items()} == {key: value.item() for key, value in expected.items()}
    assert sum(found.values()).item() != sum(before.values()).item()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"kd"}))
def test_plus_kd_adds_the_term_and_changes_no_other(name):
    (learner, batch), (with_kd, _) = learner_of(name), learner_of(f"{name}+kd")
    plain, more = learner(batch()), with_kd(batch())
    assert set(more) - set(plain) == {"kd"}
    assert more["kd"].item() > 0
    assert {key: more[key].item() for key in plain} == {key: value.item() for key, value in plain.items()}


def test_whole_numbers_are_taken_for_numbers():
    spec = check_settings("mixup3", {"alpha": 1})
    assert isinstance(spec.settings["alpha"], float)
    learner, batch = learner_of("mixup3")
    learner.objective.method.alpha = spec.settings["alpha"]
    assert torch.isfinite(sum(learner(batch()).values()))


def test_two_classes_teach_nothing_to_standardised_logits():
    context = context_of({"logits": np.zeros((2, 2))}, {"logits": np.zeros((2, 2))}, classes=2)
    with pytest.raises(UserError, match="lskd: the data has 2 classes"):
        build("lskd").setup(context)

"""`bss`, `dml` and `one`: losses against float64 NumPy on the outputs of the modules' parts, by hand, and where gradients go."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from support.methods import batch_of, context_of, made, terms
from torch import nn

from tuition.errors import UserError
from tuition.models import build, signals

RNG = np.random.default_rng(0)
B, C, SIDE, STEPS = 12, 7, 8, 100
S, T, MOVED = RNG.normal(size=(2 * B, C)) * 3, RNG.normal(size=(B, C)) * 3, RNG.normal(size=(B, C))
Y = np.where(np.arange(B) % 3, T.argmax(1), (T.argmax(1) + 1) % C)  # the teacher is wrong on every third
S[np.arange(B), np.where(np.arange(B) % 4, Y, (Y + 2) % C)] += 20  # the student on every fourth
RIGHT = [t.argmax() == y == s.argmax() for t, y, s in zip(T, Y, S[:B], strict=True)]
IMAGES = RNG.normal(size=(B, 3, SIDE, SIDE))
BOUNDARY = RNG.integers(0, 256, size=(B, 3, SIDE, SIDE), dtype=np.uint8)


def rows(ours, theirs, t):
    """KL(softmax(theirs / t) ‖ softmax(ours / t)) of each row."""
    p = np.exp(log_softmax(theirs / t, axis=1))
    return (p * (log_softmax(theirs / t, axis=1) - log_softmax(ours / t, axis=1))).sum(1)


def cross_entropy(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


def boundary(step, **settings):
    context = context_of({"logits": S}, {"logits": T}, labels=Y, classes=C, steps=STEPS)
    objective = made("bss", settings, context)
    theirs = {"logits": T, "supporting": BOUNDARY, "supporting_logits": MOVED}
    return objective, objective.augment(batch_of(Y, theirs, images=IMAGES, step=step))


@pytest.mark.parametrize(
    ("step", "kd", "beside"), [(0, 4, 2), (30, 4 - 0.9, 2 * (1 - 0.4)), (75, 4 - 2.25, 0), (99, 4 - 2.97, 0)]
)
def test_bss(step, kd, beside):
    """The released schedule by hand: 4 → 1 over the training, 2 → 0 over three quarters of it; a boundary counts where both are right."""
    assert 0 < sum(RIGHT) < min((T.argmax(1) == Y).sum(), (S[:B].argmax(1) == Y).sum())
    objective, augmented = boundary(step)
    ours = S if beside else S[:B]
    assert len(augmented.inputs) == len(ours)
    if beside:
        np.testing.assert_allclose(augmented.inputs.numpy()[B:], BOUNDARY / 255, atol=1e-7)
    given, grads = terms(objective, {"logits": ours}, augmented)
    right = np.array(RIGHT)
    expected = {
        "teacher": kd * rows(S[:B], T, 3).mean(),
        "boundary": beside * rows(S[B:], MOVED, 3)[right].mean(),
    }
    assert given == pytest.approx(expected, abs=1e-9)
    if beside:
        assert not grads["logits"][B:][~right].any()


def test_bss_settings_and_minimum():
    settings = {"temperature": 2.0, "weight_kd_start": 3.0, "weight_kd_end": 5.0, "weight_boundary": 6.0}
    objective, augmented = boundary(25, boundary_until=0.5, **settings)
    given, _ = terms(objective, {"logits": S}, augmented)
    right = np.array(RIGHT)
    expected = {"teacher": 3.5 * rows(S[:B], T, 2).mean(), "boundary": 3 * rows(S[B:], MOVED, 2)[right].mean()}
    assert given == pytest.approx(expected, abs=1e-9)
    given, _ = terms(objective, {"logits": np.concatenate([T, MOVED])}, augmented)
    assert given == pytest.approx({"teacher": 0, "boundary": 0}, abs=1e-12)


def test_bss_where_the_teacher_is_always_wrong():
    objective, augmented = boundary(0)
    augmented = augmented._replace(labels=torch.from_numpy((T.argmax(1) + 1) % C))
    assert terms(objective, {"logits": S}, augmented)[0]["boundary"] == 0


def student(seed=0):
    torch.manual_seed(seed)
    return build("resnet8", channels=3, classes=C, size=(SIDE, SIDE))


def peers(name, settings=None, model=None):
    model = student() if model is None else model
    said = signals(model.double(), torch.from_numpy(IMAGES), maps=hasattr(model, "forward_maps"))
    ours = {key: value.detach().numpy() for key, value in said.items()}
    context = context_of(
        ours,
        labels=Y,
        classes=C,
        student_model=model,
        make_student=lambda arch=None: build("resnet8", channels=3, classes=C, size=(SIDE, SIDE)),
    )
    return made(name, settings, context, seed=7), ours, batch_of(Y, images=IMAGES)


def test_dml():
    objective, ours, batch = peers("dml", {"weight": 2.0, "weight_peer": 0.5})
    theirs = objective.method.peer(torch.from_numpy(IMAGES)).detach().numpy()
    assert abs(theirs - ours["logits"]).max() > 1e-3  # another initialisation
    given, grads = terms(objective, ours, batch)
    expected = {
        "peer_labels": 0.5 * cross_entropy(theirs, Y),
        "mutual": 2 * rows(ours["logits"], theirs, 1).mean(),
        "peer_mutual": 2 * rows(theirs, ours["logits"], 1).mean(),
    }
    assert given == pytest.approx(expected, abs=1e-9)
    # the student's gradient is that of its own term alone: the peer's target is detached
    gradient = 2 * (softmax(ours["logits"], axis=1) - softmax(theirs, axis=1)) / B
    np.testing.assert_allclose(grads["logits"].numpy(), gradient, atol=1e-9)


def test_dml_of_two_equal_students_has_nothing_to_teach():
    objective, ours, batch = peers("dml")
    objective.method.peer.load_state_dict(student().double().state_dict())
    given, _ = terms(objective, ours, batch)
    assert [given["mutual"], given["peer_mutual"]] == pytest.approx([0, 0], abs=1e-9)
    assert given["peer_labels"] == pytest.approx(cross_entropy(ours["logits"], Y), abs=1e-9)


@pytest.mark.parametrize("branches", [1, 2, 3])
def test_one(branches):
    objective, ours, batch = peers("one", {"branches": branches, "weight": 0.5})
    method, shared = objective.method, torch.from_numpy(ours["map2"])
    rivals = [branch(shared).detach().numpy() for branch in method.branches]
    assert len(rivals) == branches
    assert all(abs(one - ours["logits"]).max() > 1e-3 for one in rivals)
    # the gate in NumPy: pooled, linear, batch norm as fresh (γ = 1, β = 0), ReLU, softmax
    score = ours["map2"].mean((2, 3)) @ method.gate[2].weight.detach().numpy().T
    score = (score - score.mean(0)) / np.sqrt(score.var(0) + 1e-5)
    share = softmax(np.maximum(score, 0), axis=1)
    every = [ours["logits"], *rivals]
    ensemble = sum(share[:, [place]] * one for place, one in enumerate(every))
    given, _ = terms(objective, ours, batch)
    expected = {
        "branches": sum(cross_entropy(one, Y) for one in rivals),
        "ensemble": cross_entropy(ensemble, Y),
        "mutual": 0.5 * sum(9 * rows(one, ensemble, 3).mean() for one in every),
    }
    assert given == pytest.approx(expected, abs=1e-9)


def test_one_where_all_branches_agree_is_cross_entropy():
    """Branches that are the student's own last stage make an ensemble of equals: no KL, and every CE is the student's."""
    objective, ours, batch = peers("one")
    model = student().double()
    for branch in objective.method.branches:
        branch[0].load_state_dict(model.layer3.state_dict())
        branch[3].load_state_dict(model.fc.state_dict())
    given, _ = terms(objective, ours, batch)
    own = cross_entropy(ours["logits"], Y)
    assert given == pytest.approx({"branches": 2 * own, "ensemble": own, "mutual": 0}, abs=1e-9)


def test_the_ensemble_teaches_and_is_not_taught():
    """With cross-entropy's terms taken away, the gate, which only the ensemble has, gets no gradient."""
    objective, ours, batch = peers("one")
    given = objective({key: torch.from_numpy(value) for key, value in ours.items()}, batch)
    given["mutual"].backward()
    assert all(one.grad is None for one in objective.method.gate.parameters())
    assert all(one.grad is not None and one.grad.any() for one in objective.method.branches.parameters())


class NoStages(nn.Module):
    arch = "timm:something"

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * SIDE * SIDE, C)

    def forward_features(self, x):
        return x

    def forward_head(self, features, pre_logits=False):
        return features.flatten(1) if pre_logits else self.fc(features.flatten(1))

    def get_classifier(self):
        return self.fc


def test_one_needs_an_architecture_with_a_last_stage():
    with pytest.raises(
        UserError, match=r"student\.arch 'timm:something' has no last stage to branch\. Valid: resnet8, .*vgg13"
    ):
        peers("one", model=NoStages())
    with pytest.raises(UserError, match=r"branches: found 0, expected 1 or more"):
        made("one", {"branches": 0})


@pytest.mark.parametrize("arch", ["resnet8", "wrn_16_1", "vgg8"])
def test_one_branches_every_family(arch):
    torch.manual_seed(0)
    make = lambda name=None: build(arch, channels=3, classes=C, size=(16, 16))  # noqa: E731
    model, images = make(), torch.randn(B, 3, 16, 16)
    said = signals(model, images, maps=True)
    context = context_of(
        {key: value.detach() for key, value in said.items()},
        labels=Y,
        classes=C,
        student_model=model,
        make_student=make,
    )
    objective = made("one", {}, context, dtype=torch.float32)
    given = objective(said, batch_of(Y, images=images))
    sum(given.values()).backward()
    assert all(one.grad is not None for one in objective.parameters())
    # branches learn beside the student's own last stage, which none of them is
    assert not {id(one) for one in objective.parameters()} & {id(one) for one in model.parameters()}

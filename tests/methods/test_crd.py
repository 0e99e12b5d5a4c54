"""crd against the released form of noise-contrastive estimation, written out in loops; its memories, and its draws."""

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms

RNG = np.random.default_rng(3)
B, C, DS, DT, N = 6, 3, 5, 8, 20
S, BANK = RNG.normal(size=(B, DS)), RNG.normal(size=(N, DT))
ROWS = RNG.permutation(N)[:B]
T, Y_ALL = BANK[ROWS], np.arange(N) % C
SIGNALS = {"embedding": S, "logits": np.zeros((B, C))}
SETTINGS = {"negatives": 15, "dimensions": 4, "weight": 1.0}


def crd(settings=None):
    context = context_of({"embedding": np.zeros((1, DS))}, {"embedding": BANK}, labels=Y_ALL, classes=C)
    return made("crd", {**SETTINGS, **(settings or {})}, context)


def batch(step=0, rows=ROWS):
    return batch_of(Y_ALL[rows], {"embedding": BANK[rows]}, rows=rows, step=step, seed=step)


def heads(method, student=S, teacher=T):
    def one(layer, x):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    return one(method.head, student), one(method.teacher_head, teacher)


def memories(method):
    return method.memory_student.numpy().copy(), method.memory_teacher.numpy().copy()


def released(anchors, memory, drawn, z=None):
    """Σ −log D over anchors / B, and Z. `drawn`: the batch's rows; those of the anchor's class are left out."""
    scores = []
    for row, anchor in zip(ROWS, anchors, strict=True):
        negatives = [j for j in drawn if Y_ALL[j] != Y_ALL[row]]
        scores.append(np.exp(memory[[row, *negatives]] @ anchor / 0.07))
    z = np.concatenate(scores).mean() * N if z is None else z
    loss = 0.0
    for out in scores:
        noise, out = (len(out) - 1) / N, out / z
        loss -= np.log(out[0] / (out[0] + noise)) + np.log(noise / (out[1:] + noise)).sum()
    return loss / B, z


@pytest.mark.parametrize("negatives", [15, 100])  # fewer rows than samples; more, where rows are counted
def test_the_loss_over_two_steps(negatives):
    objective = crd({"negatives": negatives})
    method, zs = objective.method, None
    for step in (0, 1):
        student_memory, teacher_memory = memories(method)
        u, v = heads(method)
        drawn = torch.randint(N, (negatives,), generator=torch.Generator().manual_seed(step)).numpy()
        got, gradients = terms(objective, SIGNALS, batch(step))
        (one, z_one), (two, z_two) = (
            released(anchors, memory, drawn, z)
            for anchors, memory, z in zip((u, v), (teacher_memory, student_memory), zs or (None, None), strict=True)
        )
        zs = zs or (z_one, z_two)
        assert got["student"] == pytest.approx(one, abs=1e-9)
        assert got["teacher"] == pytest.approx(two, abs=1e-9)
        np.testing.assert_allclose(method.log_z.exp().numpy(), zs, rtol=1e-9)
        assert gradients["embedding"].abs().sum() > 0


def test_memories_take_half_of_the_new_and_leave_others_alone():
    objective = crd()
    method, before = objective.method, memories(objective.method)
    new = heads(method)
    terms(objective, SIGNALS, batch())
    others = np.setdiff1d(np.arange(N), ROWS)
    for old, now, added in zip(before, memories(method), new, strict=True):
        mixed = (old[ROWS] + added) / 2
        np.testing.assert_allclose(now[ROWS], mixed / np.linalg.norm(mixed, axis=1, keepdims=True), atol=1e-9)
        assert (now[others] == old[others]).all()


def test_by_hand():
    """One anchor, one negative of another class drawn twice, all products 0: Z = n = 2, m / n = 1."""
    context = context_of({"embedding": np.zeros((1, 2))}, {"embedding": np.eye(2)}, labels=[0, 1], classes=2)
    objective = made("crd", {"negatives": 2, "dimensions": 2, "weight": 1.0}, context)
    objective.method.memory_student.zero_()
    objective.method.memory_teacher.zero_()
    seed = next(s for s in range(99) if torch.randint(2, (2,), generator=torch.Generator().manual_seed(s)).sum() == 2)
    given = batch_of([0], {"embedding": np.eye(2)[:1]}, rows=[0], seed=seed)
    got = terms(objective, {"embedding": np.eye(2)[:1], "logits": np.zeros((1, 2))}, given)[0]
    # exp(0) / Z = 1/2 for all; m / n = 1. So D of the positive is ⅓, and 1 − D of each negative ⅔.
    assert got == pytest.approx(dict.fromkeys(("student", "teacher"), np.log(3) + 2 * np.log(1.5)), abs=1e-9)


def test_everything_resumes_from_the_state():
    one, two = crd(), crd()
    terms(one, SIGNALS, batch(0))
    two.load_state_dict(one.state_dict())
    same = [terms(objective, SIGNALS, batch(1))[0] for objective in (one, two)]
    assert same[0] == same[1]
    assert {"method.memory_student", "method.memory_teacher", "method.log_z"} <= set(one.state_dict())


def test_a_batch_of_one_class_has_no_negatives_and_stays_finite():
    context = context_of({"embedding": np.zeros((1, DS))}, {"embedding": BANK}, labels=np.zeros(N, int), classes=C)
    objective = made("crd", SETTINGS, context)
    given = batch_of(np.zeros(B, int), {"embedding": T}, rows=ROWS)
    assert np.isfinite(sum(terms(objective, SIGNALS, given)[0].values()))

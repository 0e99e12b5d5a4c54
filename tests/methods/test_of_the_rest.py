"""Methods with terms of their own for samples that were not bought, against their formulas written out in float64."""

import numpy as np
import pytest
import torch
from support.methods import batch_of

from tuition.methods import build
from tuition.methods.protocol import Rest

B, R, C = 5, 7, 4


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def step():
    """Student logits (B + R, C), the teacher's (B, C), and the rest: target (R, C), weight (R,), labels (R,) of which two are known."""
    rng = np.random.default_rng(0)
    z, t, target = rng.normal(size=(B + R, C)), 2 * rng.normal(size=(B, C)), softmax(rng.normal(size=(R, C)))
    labels = np.array([-1, -1, 2, -1, -1, 0, -1])
    return z, t, target, rng.uniform(size=R), labels


def given(step, copies=1):
    z, t, target, weight, labels = step
    rest = Rest(torch.zeros(R, 1, 8, 8), *map(torch.from_numpy, (target, weight, labels)))
    batch = batch_of(np.zeros(B), {"logits": t, "label": t.argmax(1)}, rest=rest)
    said = torch.from_numpy(z)
    return {"logits": said[:B], "rest": said[B:].repeat(copies, 1)}, batch


def centred(z):
    return z - z.mean(1, keepdims=True)


@pytest.mark.parametrize("pairs", ["cross", "estimated", "all"])
def test_pool_ckd_compares_what_was_bought_and_what_is_estimated(step, pairs):
    z, t, target, weight, labels = step
    student, batch = given(step)
    terms = build("pool-ckd", {"pairs": pairs, "weight_relation": 0.5}).method(student, batch)
    p, w = np.concatenate([softmax(t), target]), np.concatenate([np.ones(B), weight])
    assert float(terms["teacher"]) == pytest.approx(np.mean(w * -(p * np.log(softmax(z))).sum(1)), abs=1e-12)
    s, o = centred(z), centred(np.concatenate([t, np.log(target)]))
    kept = {"cross": [], "estimated": [], "all": []}
    for i in range(B + R):
        for j in range(i):
            if all(one < B or labels[one - B] < 0 for one in (i, j)):
                squares = np.mean(((s[i] - s[j]) - (o[i] - o[j])) ** 2)
                kept["all"].append(squares)
                if j >= B:
                    kept["estimated"].append(squares)
                elif i >= B:
                    kept["cross"].append(squares)
    assert float(terms["relation"]) == pytest.approx(0.5 * np.mean(kept[pairs]), abs=1e-12)


def test_pool_ckd_without_the_rest_compares_the_bought(step):
    student, batch = given(step)
    del student["rest"]
    alone = build("pool-ckd").method(student, batch._replace(rest=None))
    z, t = step[0][:B], step[1]
    assert float(alone["teacher"]) == pytest.approx(np.mean(-(softmax(t) * np.log(softmax(z))).sum(1)), abs=1e-12)
    gap = centred(z) - centred(t)
    every = [np.mean((gap[i] - gap[j]) ** 2) for i in range(B) for j in range(i)]
    assert float(alone["relation"]) == pytest.approx(np.mean(every), abs=1e-12)


def test_pool_ckd_mixes_inputs_and_targets_alike(step):
    _, batch = given(step)
    method = build("pool-ckd", {"mix": 1.0}).method
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(B + R, 1, 8, 8, generator=draw, dtype=torch.float64)
    batch = batch._replace(inputs=images[:B], rest=batch.rest._replace(inputs=images[B:]))
    mixed = method.augment(batch)
    made_of, shares = mixed.extra["rows"], mixed.extra["shares"].double()
    assert mixed.inputs.shape == (B, 1, 8, 8)
    seen, rows = torch.cat([mixed.inputs, mixed.rest.inputs]), method._rows(mixed)
    plain = method._rows(batch)
    for place in range(B + R):
        (i, j), (a, b) = made_of[place].tolist(), shares[place].tolist()
        torch.testing.assert_close(seen[place], a * images[i] + b * images[j], atol=1e-6, rtol=0)
        torch.testing.assert_close(rows.target[place], a * plain.target[i] + b * plain.target[j], atol=1e-6, rtol=0)
        assert bool(rows.known[place]) == bool(plain.known[i] and plain.known[j])


def test_fixmatch_and_uda_follow_the_sure_ones_of_the_student(step):
    z, t = step[0], step[1]
    rng = np.random.default_rng(3)
    strong = rng.normal(size=(R, C))
    student, batch = given(step)
    student["rest"] = torch.cat([student["rest"], torch.from_numpy(strong)])
    weak, p = z[B:], softmax(z[B:])
    threshold = float(np.sort(p.max(1))[2])  # some are less sure
    sure = p.max(1) >= threshold - 1e-9
    own = -np.log(softmax(z[:B]))
    fix = build("fixmatch", {"threshold": threshold - 1e-9, "weight": 2.0}).method(student, batch)
    assert float(fix["teacher"]) == pytest.approx(np.mean(own[np.arange(B), t.argmax(1)]), abs=1e-12)
    hard = -np.log(softmax(strong))[np.arange(R), weak.argmax(1)]
    assert float(fix["consistency"]) == pytest.approx(2 * np.mean(hard * sure), abs=1e-12)
    uda = build("uda", {"threshold": threshold - 1e-9, "temperature": 0.5}).method(student, batch)
    assert float(uda["teacher"]) == pytest.approx(np.mean((softmax(t) * own).sum(1)), abs=1e-12)
    q = softmax(weak / 0.5)
    apart = (q * (np.log(q) - np.log(softmax(strong)))).sum(1)
    assert float(uda["consistency"]) == pytest.approx(np.mean(apart * sure), abs=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strong_view_is_another_picture_of_the_same(channels):
    from tuition.losses.strong import strengthen

    images = torch.randn(64, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    strong = strengthen(images, torch.Generator().manual_seed(1))
    assert strong.shape == images.shape
    assert torch.equal(strong, strengthen(images, torch.Generator().manual_seed(1)))
    assert (strong != images).flatten(1).any(1).all()
    like = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images.numpy(), strong.numpy(), strict=True)]
    assert 0.3 < np.mean(like) < 0.98

"""r2kd: its two losses by an independent computation, and what its augmented copy of a batch is."""

import numpy as np
import pytest
import torch
from support.methods import batch_of, made, terms

RNG = np.random.default_rng(1)
B, C = 8, 6
S, MORE, T, P = (RNG.normal(size=(B, C)) * 3 for _ in range(4))
Y = RNG.integers(C, size=B)
IMAGES = RNG.normal(size=(B, 3, 8, 8))
TEACHER = {"logits": T, "pruned": P}
TARGET = 0.7 * T + 0.3 * P


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cosines(a, b):
    return np.mean([x @ y / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-8) for x, y in zip(a, b, strict=True)])


def value(z, target):
    p, q = softmax(z / 4), softmax(target / 4)
    return 2 * 16 * ((1 - cosines(p, q)) + (1 - cosines(p.T, q.T)))


def rank(z, target, temperature=1.0):
    def ranks(row):
        return [sum(1 / (1 + np.exp((b - a) / temperature)) for b in row) for a in row]

    return 2 * (1 - np.mean([np.corrcoef(ranks(a), ranks(b))[0, 1] for a, b in zip(z, target, strict=True)]))


def augmented(kind, seed=0):
    batch = batch_of(Y, TEACHER, images=IMAGES, seed=seed)
    objective = made("r2kd", {"augment": kind})
    return objective, objective.augment(batch)


def test_on_the_clean_batch():
    got, _ = terms(made("r2kd", {"rank_temperature": 0.7}), {"logits": S}, batch_of(Y, TEACHER))
    assert got == pytest.approx({"value": value(S, TARGET), "rank": rank(S, TARGET, 0.7)}, abs=1e-8)


def test_opposite_orders_by_hand():
    """Two classes in opposite orders: ρ = −1, whatever the temperature; so the rank loss is 2 · (1 − (−1)) = 4."""
    objective = made("r2kd", {"share": 0.0})
    got, _ = terms(
        objective, {"logits": np.array([[1.0, 0.0]])}, batch_of([0], {"logits": [[0.0, 1.0]], "pruned": [[0.0, 0.0]]})
    )
    assert got["rank"] == pytest.approx(4, abs=1e-6)


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "cutout"])
def test_the_augmented_half(kind):
    """Targets are mixed as the images are, and the clean half's terms stay what they are."""
    objective, batch = augmented(kind)
    assert batch.inputs.shape == (2 * B, 3, 8, 8)
    assert torch.equal(batch.inputs[:B], torch.as_tensor(IMAGES))
    partner, share = batch.extra["partner"].numpy(), batch.extra["share"].item()
    mixed = share * TARGET + (1 - share) * TARGET[partner]
    got, gradients = terms(objective, {"logits": np.concatenate([S, MORE])}, batch)
    expected = {"value": value(S, TARGET), "rank": rank(S, TARGET)}
    expected |= {"value_augmented": value(MORE, mixed), "rank_augmented": rank(MORE, mixed)}
    assert got == pytest.approx(expected, abs=1e-8)
    assert (gradients["logits"].abs().sum(1) > 0).all()


def test_mixup_images():
    _, batch = augmented("mixup")
    share = batch.extra["share"].item()
    assert 0 <= share <= 1
    expected = share * IMAGES + (1 - share) * IMAGES[batch.extra["partner"].numpy()]
    np.testing.assert_allclose(batch.inputs[B:].numpy(), expected, atol=1e-12)


def test_cutmix_share_is_the_area_that_is_left():
    for seed in range(20):
        _, batch = augmented("cutmix", seed)
        other = batch.inputs[B:].numpy()
        partner = batch.extra["partner"].numpy()
        moved = np.nonzero(partner != np.arange(B))[0]
        kept = other[moved] == IMAGES[moved]
        assert (kept | (other[moved] == IMAGES[partner[moved]])).all()
        np.testing.assert_allclose(kept.mean(axis=(1, 2, 3)), batch.extra["share"].item(), atol=1e-6)


def test_cutout_clears_a_box_of_half_the_sides_and_keeps_the_target():
    sizes = set()
    for seed in range(40):
        _, batch = augmented("cutout", seed)
        cleared = batch.inputs[B:].numpy() == 0
        assert (batch.inputs[B:].numpy()[~cleared] == IMAGES[~cleared]).all()
        assert batch.extra["share"].item() == 1
        sizes.add(cleared[0, 0].sum())
    assert max(sizes) == 16  # 4 × 4 of 8 × 8, less at the borders
    assert min(sizes) < 16


def test_the_same_step_draws_the_same():
    first, second, other = (augmented("mixup", seed)[1].inputs for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_none_appends_nothing():
    assert len(augmented("none")[1].inputs) == B

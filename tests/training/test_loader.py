"""Batches: a function of seed and step, crops that are crops, and groups that stay together."""

import numpy as np
import torch

from tuition.inputs.images.batch import PlacedImages
from tuition.training.loader import Loader

N, H = 50, 12
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(1, 256, size=(N, 3, H, H), dtype=np.uint8))
LABELS = torch.arange(N)
LOGITS = torch.randn(N, 5)


def loader(**changes):
    settings = {
        "mean": [0.0] * 3,
        "std": [1 / 255] * 3,
        "batch_size": 16,
        "crop": 2,
        "flip": True,
        "seed": 1,
        **changes,
    }
    of_images = {key: settings.pop(key) for key in ("mean", "std", "crop", "flip")}
    return Loader(PlacedImages(IMAGES, **of_images), LABELS, {"logits": LOGITS}, **settings)


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = loader(), loader()
    forwards = [one.batch(step) for step in range(10)]
    backwards = [other.batch(step) for step in reversed(range(10))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.labels, b.labels)
    assert not torch.equal(forwards[0].inputs, loader(seed=2).batch(0).inputs)


def test_an_epoch_is_without_replacement_and_signals_follow_their_samples():
    seen = torch.cat([loader().batch(step).labels for step in range(3)])
    assert len(seen.unique()) == 48
    batch = loader().batch(7)
    assert torch.equal(batch.teacher["logits"], LOGITS[batch.labels])


def test_every_image_is_a_crop_or_its_mirror_of_its_own_sample():
    batch = loader().batch(4)
    assert batch.inputs.shape == (16, 3, H, H)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    mirrored = 0
    for image, label in zip(batch.inputs, batch.labels, strict=True):
        padded = torch.nn.functional.pad(IMAGES[label].float(), (2,) * 4)
        crops = [padded[:, y : y + H, x : x + H] for y in range(5) for x in range(5)]
        plain = any(torch.allclose(image, crop) for crop in crops)
        flipped = any(torch.allclose(image, crop.flip(2)) for crop in crops)
        assert plain or flipped
        mirrored += flipped
    assert 2 < mirrored < 14


def test_without_augmentation_it_is_the_normalised_image():
    batch = loader(crop=0, flip=False, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4]).batch(0)
    expected = (IMAGES[batch.labels] / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.2, 0.3, 0.4]
    ).view(3, 1, 1)
    torch.testing.assert_close(batch.inputs, expected)


def test_stored_groups_lie_end_to_end():
    members = torch.tensor([[i, (i + 7) % N, (i + 20) % N] for i in range(N)])
    made = loader(members=members, weights=torch.tensor([0.5, 0.5, -1.0]))
    batch = made.batch(3)
    assert made.batch_size == len(batch.labels) == 15
    stored = {tuple(row) for row in members.tolist()}
    assert all(tuple(row) in stored for row in batch.labels.view(5, 3).tolist())
    delta = batch.groups.matrix @ batch.teacher["logits"]
    expected = batch.teacher["logits"].view(5, 3, 5)
    torch.testing.assert_close(delta, (expected[:, 0] + expected[:, 1]) / 2 - expected[:, 2])
    assert not batch.groups.every


def test_fewer_samples_than_a_batch():
    made = loader(batch_size=64)
    assert made.batch_size == N
    assert sorted(made.batch(5).labels.tolist()) == list(range(N))

"""Every method, with its own defaults, trains on the embedded digits to more than chance, and no two of them to the same student."""

from functools import cache

import numpy as np
import pytest
import torch
from support import digits

from tuition.comparisons import group_weights
from tuition.inputs.images import mix
from tuition.methods import METHODS, build, card
from tuition.models import build as build_model
from tuition.params import Training
from tuition.signals import FAMILIES, arrays_of
from tuition.teachers.checkpoint import CheckpointTeacher
from tuition.training import run
from tuition.training.data import TrainingSet

pytestmark = pytest.mark.slow

N, HELD_OUT, SIDE = 300, 500, 16
CHANCE = 0.1
SETTINGS = Training(steps=120, batch_size=32, lr=0.05, validate_every=40, checkpoint_every=120, crop=1)
MODEL = {
    "arch": "resnet8",
    "channels": 1,
    "height": SIDE,
    "width": SIDE,
    "classes": 10,
    "mean": [0.1],
    "std": [0.3],
    "taps": [],
    "class_names": [str(i) for i in range(10)],
}


@cache
def data():
    """Images (N + HELD_OUT, 1, SIDE, SIDE) uint8 and labels."""
    images, labels = digits(N + HELD_OUT)
    return np.ascontiguousarray(np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None, ::2, ::2]), labels


def train(name, objective, **more):
    images, labels = data()
    done, _ = run.train(
        name,
        dict(MODEL),
        objective,
        SETTINGS,
        0,
        TrainingSet(images[:N], labels[:N], **more),
        validation=(images[N:], labels[N:]),
    )
    return done


@cache
def teacher():
    """A resnet8 that has learned the digits, and all that it says of the bought ones."""
    images, labels = data()
    done = train("teacher", build("ce"))
    model = build_model("resnet8", channels=1, classes=10, size=(SIDE, SIDE))
    model.load_state_dict(done.best)
    network = CheckpointTeacher(
        model,
        {"mean": [0.1], "std": [0.3], "resize": None},
        "32-true",
        10,
        FAMILIES,
        {"channels": 1, "height": SIDE, "width": SIDE},
    )
    said = network.answer(images[:N])
    ranks = (
        torch.nn.functional.cross_entropy(
            torch.from_numpy(said["logits"]), torch.from_numpy(labels[:N]), reduction="none"
        )
        .argsort()
        .argsort()
    )
    said["difficulty"] = (ranks.numpy()[:, None] / N).astype(np.float32)
    rng = np.random.default_rng(0)
    first, second, lam = rng.permutation(N), rng.permutation(N), rng.random(N).astype(np.float32)
    blends = mix(images[first], images[second], lam)
    of_blends = {
        "inputs": blends,
        "logits": network.answer(blends)["logits"],
        "first": first,
        "second": second,
        "lam": lam,
    }
    return said, network.constants(), of_blends


@cache
def outcome(name):
    """(validation top-1, the student's weights as bytes)."""
    said, constants, of_blends = teacher()
    about, objective = card(name), build(name)
    done = train(
        name,
        objective,
        teacher={key: said[key] for family in objective.signals for key in arrays_of(family, list(said))},
        weights=group_weights(2).astype("float32") if about.compares else None,
        constants=constants if "classifier" in objective.signals else {},
        mixed=of_blends if about.views == "mixed" else {},
        others={"second": {"logits": said["pruned"]}} if about.several else {},
        present={"second": np.ones(N, dtype=bool)} if about.several else {},
    )
    return done.best_score[0], b"".join(value.numpy().tobytes() for _, value in sorted(done.best.items()))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where checkpoints are written


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", METHODS)
def test_beats_chance(name):
    """By more than five standard deviations of guessing 500 digits."""
    assert outcome(name)[0] > CHANCE + 5 * (CHANCE * (1 - CHANCE) / HELD_OUT) ** 0.5


@pytest.mark.timeout(1800)
def test_no_two_methods_make_the_same_student():
    made = {name: outcome(name)[1] for name in METHODS}
    assert len(set(made.values())) == len(METHODS)

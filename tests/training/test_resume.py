"""Heads, banks and memories resume with the student: broken off and resumed, every method ends in the same bits."""

from functools import cache

import numpy as np
import pytest
import torch
from support import digits

from tuition.comparisons import group_weights
from tuition.methods import METHODS, build, card
from tuition.models import build as build_model
from tuition.params import StudentTraining
from tuition.signals import FAMILIES, arrays_of
from tuition.teachers.checkpoint import CheckpointTeacher
from tuition.training import run
from tuition.training.data import TrainingSet

N, SIDE = 48, 16
SETTINGS = StudentTraining(
    steps=9,
    batch_size=16,
    rest="estimated",
    rest_share=0.25,
    lr=0.01,
    validate_every=3,
    checkpoint_every=3,
    crop=1,
    flip=True,
    precision="32-true",
)
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
QUICK = {"ft": {"pretrain_steps": 5}, "rrd": {"bank": 40}, "crd": {"negatives": 64}}


FURTHER = {
    "others": {"second": {"logits": np.random.default_rng(0).normal(size=(N, 10)).astype(np.float32)}},
    "present": {"second": np.arange(N) % 5 > 0},
}


REST = {  # samples that were not bought ride along with every method
    "inputs": np.random.default_rng(1).integers(0, 256, (20, 1, SIDE, SIDE), dtype=np.uint8),
    "estimated": np.random.default_rng(3).dirichlet(np.ones(10), 20).astype(np.float16),
    "labels": np.where(np.arange(20) % 3 == 0, np.arange(20) % 10, -1),
    "share": np.where(np.arange(20) % 3 == 0, 0.5, 0).astype(np.float32),
    "weight": np.linspace(0.2, 1, 20, dtype=np.float32),
}


class Broken(Exception):
    pass


@cache
def data():
    """Real digits, 16×16, and everything that a network of fresh weights says of them."""
    images, labels = digits(2 * N)
    images = np.ascontiguousarray(np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None, ::2, ::2])
    torch.manual_seed(3)
    model = build_model("resnet14", channels=1, classes=10, size=(SIDE, SIDE))
    description = {"mean": [0.1], "std": [0.3], "resize": None}
    teacher = CheckpointTeacher(
        model, description, "32-true", 10, FAMILIES, {"channels": 1, "height": SIDE, "width": SIDE}
    )
    said = teacher.answer(images[:N])
    said["difficulty"] = np.linspace(0, 1, N, dtype=np.float32)[:, None]
    said["label"] = said["logits"].argmax(1).astype(np.int32)
    rows = np.arange(12)
    mixed = {
        "inputs": images[:12],
        "logits": said["logits"][:12],
        "first": rows,
        "second": rows[::-1].copy(),
        "lam": np.linspace(0.1, 0.9, 12, dtype=np.float32),
    }
    return images, labels, said, teacher.constants(), mixed


def train(name, on_row=lambda row: None, objective=None):
    images, labels, said, constants, mixed = data()
    about, objective = card(name), objective or build(name, QUICK.get(name))
    teacher = {key: said[key] for family in objective.signals for key in arrays_of(family, list(said))}
    done, _ = run.train(
        f"resume-{name}",
        dict(MODEL),
        objective,
        SETTINGS,
        0,
        TrainingSet(
            images[:N],
            labels[:N],
            teacher,
            weights=group_weights(2).astype("float32") if about.compares else None,
            constants=constants if "classifier" in objective.signals else {},
            mixed=mixed if about.views == "mixed" else {},
            rest=REST,
            **(FURTHER if about.several else {}),
        ),
        validation=(images[N:], labels[N:]),
        on_row=on_row,
    )
    return done


@pytest.mark.parametrize("name", METHODS)
def test_a_training_that_is_broken_off_goes_on_to_the_same_bits(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = train(name)
    assert not list(tmp_path.rglob("*.pt"))

    def stop(row):
        if row["step"] == 6:  # the state of step 3 is saved by then
            raise Broken

    with pytest.raises(Broken):
        train(name, stop)
    resumed = train(name)
    assert "resuming at step 3 of 9" in capsys.readouterr().out
    assert resumed.history == whole.history
    assert resumed.best_step == whole.best_step
    assert all(torch.equal(value, resumed.best[key]) for key, value in whole.best.items())


def test_what_gets_no_gradient_any_more_stands_still(tmp_path, monkeypatch):
    """pkt-h's auxiliary trains in the first stage alone: afterwards neither momentum nor weight decay may move it."""
    monkeypatch.chdir(tmp_path)
    objective = build("pkt-h", {"share": 0.4})  # of 9 steps: the first 4
    seen = {}

    def keep(row):
        network = objective.method.auxiliary
        seen[row["step"]] = {name: value.detach().clone() for name, value in network.named_parameters()}

    train("pkt-h", keep, objective)
    assert all(torch.equal(value, seen[9.0][name]) for name, value in seen[6.0].items())
    assert not all(torch.equal(value, seen[6.0][name]) for name, value in seen[3.0].items())

"""A second kind of inputs, rows of numbers, that nothing of the house knows: what it takes to train on it and to ask the student."""

import hashlib
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from stages.evaluate.__main__ import predict
from tuition import models
from tuition.files import read_array, write_array, write_json
from tuition.inputs.bought import Bought
from tuition.inputs.kinds import INPUTS, described, inputs_of, named, workspace_inputs
from tuition.methods import build
from tuition.models.network import Network
from tuition.params import Training
from tuition.training.data import TrainingSet
from tuition.training.run import describe, read_split, train
from tuition.workspace import Workspace

LENGTH, CLASSES = 6, 3


class PlacedVectors:
    def __init__(self, stored, mean):
        self.stored, self.mean, self.device = stored, mean, stored.device

    def __len__(self):
        return len(self.stored)

    def normalise(self, stored):
        return stored - self.mean

    def batch(self, index, generator):
        return self.normalise(self.stored[index])


class Less(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.mean = mean

    def forward(self, stored):
        return stored - self.mean


VECTORS = SimpleNamespace(
    NAME="vectors",
    AXES="numbers",
    DYNAMIC=(0,),
    DESCRIBED=("length", "mean"),
    write=lambda folder, samples: write_array(folder / "vectors.npy", samples),
    read=lambda folder: read_array(folder / "vectors.npy"),
    content_id=lambda sample: hashlib.sha256(sample.tobytes()).hexdigest(),
    facts=lambda samples: {"length": samples.shape[1]},
    statistics=lambda samples: {"mean": float(samples.mean())},
    warnings=lambda splits: [],
    shape=lambda facts: (facts["length"],),
    empty=lambda count, facts: np.zeros((count, facts["length"]), np.float32),
    own=lambda samples, tokens, settings: {},
    numbers=lambda samples, facts: samples,
    place=lambda samples, device, facts, augmentation: PlacedVectors(
        torch.from_numpy(np.array(samples)).to(device), facts["mean"]
    ),
    preprocessing=lambda facts: Less(facts["mean"]),
    arranged=lambda inputs: inputs,
)


class Tiny(Network):
    def __init__(self, length, classes):
        super().__init__()
        self.body, self.head, self.taps = nn.Linear(length, 16), nn.Linear(16, classes), ()

    def forward_features(self, x):
        return torch.relu(self.body(x))

    def forward_head(self, features, pre_logits=False):
        return features if pre_logits else self.head(features)

    def get_classifier(self):
        return self.head


def drawn(count, seed):
    """Samples, and their labels: which of the first numbers is the largest."""
    samples = np.random.default_rng(seed).normal(size=(count, LENGTH)).astype(np.float32)
    return samples, samples[:, :CLASSES].argmax(1)


def test_a_kind_that_the_house_does_not_know_is_trained_on_and_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(INPUTS, "vectors", VECTORS)
    monkeypatch.setitem(models.BUILDERS, "vectors", lambda model: Tiny(model["length"], model["classes"]))
    here, names = Workspace(), ["a", "b", "c"]
    write_json(here.data.meta, {"classes": names, **named(VECTORS), "length": LENGTH})
    for number, split in enumerate(("train", "val")):
        samples, labels = drawn(200, number)
        VECTORS.write(here.split(split).path, samples)
        write_array(here.split(split).labels, labels)
        write_json(here.split(split).meta, {"classes": names, **VECTORS.statistics(samples)})
    assert workspace_inputs() is VECTORS

    samples, labels = read_split("train")
    bought = Bought(VECTORS, samples, np.arange(100))
    logits = 4 * np.eye(CLASSES, dtype=np.float32)[labels[:100]]
    model = describe("tiny", samples)
    assert model["inputs"] == "vectors"
    settings = Training(steps=60, batch_size=20, lr=0.1, validate_every=20, checkpoint_every=60, accelerator="cpu")
    data = TrainingSet(bought[:], np.array(labels[:100]), {"logits": logits})
    done, _ = train("tiny", model, build("kd"), settings, 0, data)
    assert done.best_score[0] > 0.8

    student = models.make(model).eval()
    student.load_state_dict(done.best)
    asked, _ = predict(student, read_split("val")[0], model, 64, torch.device("cpu"))
    assert asked.shape == (200, CLASSES)
    assert (asked.argmax(1) == read_split("val")[1]).mean() == done.best_score[0]


def test_images_are_not_named():
    facts = {"channels": 1, "height": 8, "width": 9, "mean": [0.5], "std": [0.5], "classes": ["a"]}
    assert inputs_of(facts).shape(facts) == (1, 8, 9)
    assert named(INPUTS["images"]) == {}
    assert described(INPUTS["images"], facts) == {key: facts[key] for key in facts if key != "classes"}

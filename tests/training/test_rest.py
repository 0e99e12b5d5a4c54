"""Samples that were not bought: what is learnt of them, how much of a step they are, and that a method sees nothing of it."""

import numpy as np
import pytest
import torch
from support import digits

from stages.train.rest import read_rest
from tuition.errors import UserError
from tuition.estimates import fingerprint
from tuition.files import write_array, write_json
from tuition.methods import build
from tuition.methods.protocol import Rest
from tuition.params import StudentTraining
from tuition.training import run
from tuition.training.data import TrainingSet
from tuition.training.rest import RestLoader, beside, share_of, term
from tuition.workspace import Workspace

MODEL = {
    "arch": "resnet8",
    "channels": 1,
    "height": 14,
    "width": 14,
    "classes": 10,
    "mean": [0.1],
    "std": [0.3],
    "taps": [],
    "class_names": [str(i) for i in range(10)],
}


def test_the_term_is_a_weighted_cross_entropy():
    rng = np.random.default_rng(0)
    logits, target, weight = rng.normal(size=(6, 4)), rng.dirichlet(np.ones(4), 6), rng.uniform(size=6)
    said = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = float(np.mean(weight * -(target * said).sum(1)))
    rest = Rest(torch.empty(6, 0), torch.from_numpy(target), torch.from_numpy(weight), torch.full((6,), -1))
    assert float(term(torch.from_numpy(logits), rest)) == pytest.approx(expected, abs=1e-12)


def test_rows_weigh_alike_whether_bought_or_not():
    """A method whose term is the cross-entropy to the estimate too: then the split into bought and others changes nothing."""
    each, rest = torch.rand(20, dtype=torch.float64), Rest(*[torch.empty(17)] * 4)
    terms = beside({"teacher": each[:3].mean()}, {"rest": each[3:].mean()}, 3, rest)
    assert float(sum(terms.values())) == pytest.approx(float(each.mean()), abs=1e-12)
    assert beside({"teacher": each.mean()}, {}, 20, None)["teacher"] == each.mean()


@pytest.mark.parametrize(("batch", "share", "rows"), [(64, 0.5, 32), (64, 0.9, 58), (4, 0.99, 2), (64, 0.001, 1)])
def test_a_step_has_so_many_of_them_and_two_bought_ones_at_least(batch, share, rows):
    assert share_of(batch, share) == rows


def trained(rest, method="kd", seed=0):
    """The validation accuracy of a student of 30 bought digits, with what the rest teaches."""
    images, labels = digits(1500)
    images = np.ascontiguousarray(images[:, None, ::2, ::2])
    logits = np.eye(10, dtype=np.float32)[labels] * 8
    held = {"inputs": images[30:1000], "labels": np.full(970, -1), "share": np.zeros(970, np.float32)}
    held |= {"estimated": np.eye(10, dtype=np.float16)[labels[30:1000]], "weight": np.ones(970, np.float32)}
    settings = StudentTraining(
        steps=120,
        batch_size=32,
        lr=0.05,
        validate_every=120,
        checkpoint_every=120,
        precision="32-true",
        rest="estimated" if rest else "none",
        rest_share=0.5,
    )
    data = TrainingSet(images[:30], labels[:30], {"logits": logits[:30]}, rest=held if rest else {})
    done, speed = run.train(
        "rest", dict(MODEL), build(method, None), settings, seed, data, validation=(images[1000:], labels[1000:])
    )
    assert speed["batch_size"] == (32 if rest else 30)
    return done.history[-1]


def test_a_student_learns_of_what_was_not_bought(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few, pool = trained(False), trained(True)
    assert "rest" in pool
    assert "rest" not in few
    assert pool["val_top1"] > few["val_top1"] + 0.05


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Ten samples of three classes, of which 0 and 1 were bought and the others estimated; samples 0 to 5 have labels."""
    monkeypatch.chdir(tmp_path)
    outputs, files = Workspace().outputs(2), Workspace().estimates(2)
    write_array(outputs.positions, np.array([0, 1]))
    write_array(outputs.ids, np.array(["0" * 64, "1" * 64], dtype="S64"))
    write_array(outputs.signal("logits"), np.zeros((2, 3), np.float32))
    write_array(files.positions, np.arange(2, 10))
    write_array(files.probabilities, np.tile(np.array([[0.5, 0.25, 0.25]], np.float16), (8, 1)))
    write_array(files.confidence, np.linspace(0.2, 0.9, 8).astype(np.float32))
    write_json(files.meta, {"estimator": "ridge", "outputs": fingerprint(outputs)})
    labels = np.array([0, 1, 2, 0, 1, 2, -1, -1, -1, -1])
    return np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), labels, np.array([0, 1])


def read(pool, **settings):
    """The arrays, and the target that a training makes of them, row for row."""
    found = read_rest(StudentTraining(**settings), 2, *pool)
    if not found:
        return found
    arrays = {key: torch.from_numpy(values) for key, values in found.items() if key != "inputs"}
    every = RestLoader(AsStored(torch.from_numpy(found["inputs"])), arrays, 3, len(found["weight"]), 0).at(0)
    order = every.inputs.ravel().argsort()
    return found | {"target": every.target[order].numpy()}


class AsStored:
    """Samples that are seen as they are."""

    def __init__(self, stored):
        self.stored, self.device = stored, stored.device

    def __len__(self):
        return len(self.stored)

    def batch(self, index, generator):
        return self.stored[index]


def test_what_each_regime_reads(pool):
    assert read(pool) == {}
    estimated = read(pool, rest="estimated", rest_confidence=0.5)
    assert estimated["inputs"].ravel().tolist() == [5, 6, 7, 8, 9]
    assert np.allclose(estimated["target"], [0.5, 0.25, 0.25])
    assert np.allclose(estimated["weight"], [0.5, 0.6, 0.7, 0.8, 0.9])
    labelled = read(pool, rest="labelled", rest_weight=2.0)
    assert labelled["inputs"].ravel().tolist() == [2, 3, 4, 5]
    assert labelled["target"].tolist() == np.eye(3)[[2, 0, 1, 2]].tolist()
    assert labelled["weight"].tolist() == [2.0] * 4
    both = read(pool, rest="both", rest_confidence=0.5)
    assert both["inputs"].ravel().tolist() == list(range(2, 10))
    assert np.allclose(both["target"][3], [0.25, 0.125, 0.625])  # label and estimate
    assert np.allclose(both["target"][0], [0, 0, 1])  # its estimate is too unsure
    assert np.allclose(both["target"][5], [0.5, 0.25, 0.25])
    unlabelled = read(pool, rest="unlabelled")
    assert unlabelled["inputs"].ravel().tolist() == list(range(2, 10))
    assert not unlabelled["target"].any()
    assert (unlabelled["labels"] == -1).all()


def test_nothing_left_and_older_estimates_are_refused(pool):
    settings, known = StudentTraining(rest="estimated"), "0" * 64
    with pytest.raises(UserError, match=r"estimates/2: other estimates than those that comparisons/2 names"):
        read_rest(settings, 2, *pool, known)
    with pytest.raises(UserError, match=r"no sample of the pool is left .* an estimate of confidence 0\.95 or more"):
        read(pool, rest="estimated", rest_confidence=0.95)
    write_array(Workspace().outputs(2).signal("logits"), np.ones((2, 3), np.float32))
    with pytest.raises(UserError, match="made from other answers"):
        read(pool, rest="estimated")

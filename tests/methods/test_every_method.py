"""Every method, with its own defaults, trains on the embedded digits to more than chance, and no two of them to the same student."""

from functools import cache

import numpy as np
import pytest
import torch
from support import digits

from tuition.comparisons import group_weights
from tuition.inputs.images import mix
from tuition.losses.comparisons import in_batch
from tuition.methods import METHODS, build, card
from tuition.models import build as build_model
from tuition.models import make
from tuition.params import StudentTraining
from tuition.signals import FAMILIES, arrays_of
from tuition.teachers.checkpoint import CheckpointTeacher
from tuition.training import run
from tuition.training.data import TrainingSet
from tuition.training.loop import Learner

pytestmark = pytest.mark.slow

N, HELD_OUT, SIDE = 300, 500, 16
CHANCE = 0.1
SETTINGS = StudentTraining(steps=120, batch_size=32, lr=0.05, validate_every=40, checkpoint_every=120, crop=1)
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
        SETTINGS.model_copy(update={"rest": "estimated"} if "rest" in more else {}),
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
    said["label"] = said["logits"].argmax(1)
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
def rest():
    """Samples that were not bought: for want of more digits bought ones again, with the teacher's answers as their estimates."""
    said = torch.from_numpy(teacher()[0]["logits"])
    return {
        "inputs": data()[0][:N],
        "estimated": said.softmax(1).half().numpy(),
        "weight": np.ones(N, np.float32),
        "labels": np.full(N, -1),
        "share": np.zeros(N, np.float32),
    }


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
        **({"rest": rest()} if about.rest_use != "added" else {}),
    )
    return done.best_score[0], b"".join(value.numpy().tobytes() for _, value in sorted(done.best.items()))


def one_batch(name, unknown):
    """A student, the objective of `name` set up for it, and a batch of the digits of which the samples `unknown` (N,) have no label."""
    images, labels = data()
    said, constants, of_blends = teacher()
    about, objective = card(name.removesuffix("+kd")), build(name)
    torch.manual_seed(0)
    student = make(dict(MODEL))
    learned = TrainingSet(
        images[:N],
        np.where(unknown, -1, labels[:N]),
        teacher={key: said[key] for family in objective.signals for key in arrays_of(family, list(said))},
        weights=group_weights(2).astype("float32") if about.compares else None,
        constants=constants if "classifier" in objective.signals else {},
        mixed=of_blends if about.views == "mixed" else {},
        others={"second": {"logits": said["pruned"]}} if about.several else {},
        present={"second": np.ones(N, dtype=bool)} if about.several else {},
        rest=rest() if about.rest_use != "added" else {},
    )
    loader, _ = run._loaders(learned, dict(MODEL), SETTINGS, 0, torch.device("cpu"))
    objective.setup(run._context(learned, dict(MODEL), SETTINGS, 0, student, loader, objective))
    return Learner(objective.wrap(student), objective), loader


def looked_at(name, unknown, step=119):
    """The terms of a batch late in training, and the gradients that reach the student: its classifier's (or projector's) first."""
    learner, loader = one_batch(name, unknown)
    terms = learner(loader.batch(step))
    torch.stack(list(terms.values())).sum().backward()
    gradients = [parameter.grad for parameter in learner.student.parameters() if parameter.requires_grad]
    assert all(torch.isfinite(one).all() for one in (*terms.values(), *(g for g in gradients if g is not None)))
    last = [value.grad for key, value in learner.student.named_parameters() if key.startswith(("fc.", "projector."))]
    return terms, last, gradients


def reaches(gradients):
    return any(one is not None and one.abs().max() > 1e-9 for one in gradients)


@pytest.mark.parametrize("name", METHODS)
def test_samples_without_labels_do_what_the_card_says(name):
    """Some without: finite. All without: something teaches the classes, or the card says that it needs labels, and +kd makes up for it."""
    some = np.arange(N) % 3 > 0
    assert reaches(looked_at(name, some)[1])
    every = np.ones(N, dtype=bool)
    needs = card(name).label_use == "needed"
    if needs and card(name).signals:
        assert not reaches(looked_at(name, every)[1])
    elif not needs:
        assert reaches(looked_at(name, every)[1])
    assert card(name).signals or needs  # students that teach each other teach nothing
    if needs:
        assert reaches(looked_at(f"{name}+kd", every)[1])


LABEL_TERMS = ("labels", "peer_labels", "branches", "ensemble", "virtual")


@pytest.mark.parametrize("name", METHODS)
def test_terms_on_labels_are_those_of_the_labelled_samples(name):
    """A batch of which some have no label against the batch of the others alone, with the same networks."""
    if name in ("mixup", "mixup3", "cutmix") or card(name).rest_use != "added":
        return  # in another batch others are mixed: see test_mixing.py; and these have no terms on labels
    unknown = np.arange(N) % 3 > 0
    learner, loader = one_batch(name, unknown)
    learner.eval()  # so that what a sample's outputs are does not depend on the batch
    batch = learner.objective.augment(loader.batch(119))
    kept = (batch.labels >= 0).nonzero()[:, 0]
    alone = batch._replace(
        inputs=batch.inputs[: len(batch.labels)][kept],
        labels=batch.labels[kept],
        teacher={key: value[kept] for key, value in batch.teacher.items()},
        rows=batch.rows[kept],
        groups=batch.groups and in_batch(len(kept), torch.tensor(group_weights(2), dtype=torch.float32)),
        present={key: value[kept] for key, value in batch.present.items()},
        others={key: {k: v[kept] for k, v in one.items()} for key, one in batch.others.items()},
    )
    given = learner._look(batch.inputs)
    of_all = learner.objective(given, batch)
    if name in ("mix-cached", "mixkd", "bss", "r2kd"):  # beside clean ones: of these plain cross-entropy alone
        logits = given["logits"][kept]
        assert of_all["labels"].item() == pytest.approx(torch.nn.functional.cross_entropy(logits, alone.labels).item())
        return
    of_labelled = learner.objective({key: value[kept] for key, value in given.items()}, alone)
    for term in LABEL_TERMS:
        if term in of_labelled and name != "ckd-kl":  # whose groups are listed: see test_ckd.py
            assert of_all[term].item() == pytest.approx(of_labelled[term].item(), rel=1e-4, abs=1e-6), term


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where checkpoints are written


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", METHODS)
def test_beats_chance(name):
    """By more than five standard deviations of guessing 500 digits."""
    assert outcome(name)[0] > CHANCE + 5 * (CHANCE * (1 - CHANCE) / HELD_OUT) ** 0.5


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_two_methods_make_the_same_student():
    made = {name: outcome(name)[1] for name in METHODS}
    assert len(set(made.values())) == len(METHODS)

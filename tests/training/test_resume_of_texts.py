"""Students of texts that are broken off and resumed end in the same bits, with the rest of the pool and what is left out by chance."""

import numpy as np
import pytest
import torch

from tuition.comparisons import group_weights
from tuition.inputs import texts
from tuition.methods import build
from tuition.models import tokens_of
from tuition.params import Student, StudentTraining
from tuition.training import run
from tuition.training.data import TrainingSet

SETTINGS = StudentTraining(
    steps=9,
    batch_size=16,
    optimizer="adamw",
    lr=0.002,
    validate_every=3,
    checkpoint_every=3,
    rest="estimated",
    rest_share=0.25,
    token_dropout=0.1,
    span_masking=0.1,
    precision="32-true",
)
FEW = SETTINGS.model_copy(update={"rest": "none"})
N, CLASSES = 40, 4


def train(student, glosses, settings, on_row=lambda row: None):
    own = texts.own(glosses, tokens_of(student.arch, student.folder), student)
    names = [str(place) for place in range(CLASSES)]
    model = {"arch": student.arch, "taps": [], "inputs": "texts", "classes": CLASSES, "class_names": names, **own}
    random, labels = np.random.default_rng(0), np.arange(len(glosses)) % CLASSES
    rest = {
        "inputs": glosses[N:200],
        "estimated": random.dirichlet(np.ones(CLASSES), 200 - N).astype(np.float16),
        "labels": np.full(200 - N, -1),
        "share": np.zeros(200 - N, np.float32),
        "weight": np.ones(200 - N, np.float32),
    }
    bought = TrainingSet(
        glosses[:N],
        np.full(N, -1),
        {"logits": random.normal(size=(N, CLASSES)).astype(np.float32)},
        weights=group_weights(2).astype("float32"),
        rest=rest if settings.rest == "estimated" else {},
    )
    objective = build("ckd-mse", None)
    done, _ = run.train(
        "resume", model, objective, settings, 0, bought, validation=(glosses[200:], labels[200:]), on_row=on_row
    )
    return done


@pytest.mark.parametrize("arch", ["text-transformer", "static", "transformers"])
def test_a_training_that_is_broken_off_goes_on_to_the_same_bits(arch, glosses, encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tuned = {"arch": f"transformers:{encoder}"} if arch == "transformers" else {"arch": arch}
    student = Student(**tuned, encoder=str(encoder) if arch == "static" else None, max_tokens=30)
    whole = train(student, glosses, SETTINGS)

    def stop(row):
        if row["step"] == 6:  # the state of step 3 is saved by then
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(student, glosses, SETTINGS, stop)
    resumed = train(student, glosses, SETTINGS)
    assert "resuming at step 3 of 9" in capsys.readouterr().out
    assert resumed.history == whole.history
    assert all(torch.equal(value, resumed.best[key]) for key, value in whole.best.items())
    few = train(student, glosses, FEW)
    assert few.history[-1]["loss"] != whole.history[-1]["loss"]

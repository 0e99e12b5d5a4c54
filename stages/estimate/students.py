"""Students as an estimator: each is trained on a part of the bought answers, and what they say of the pool joins the blend.

Where features say little (pixels), a student that has seen the bought samples, shifted and mirrored, knows more of the rest than they do; a
student that learns from the blend then learns from earlier ones: self-training in one round. Which of the two counts is decided by
bought answers alone, each of which one student has not seen.
"""

import numpy as np
import torch

from tuition.estimators import Bought, Fitted
from tuition.estimators.auto import blend
from tuition.estimators.protocol import folds
from tuition.inputs.protocol import Samples
from tuition.methods import build
from tuition.models import make
from tuition.models.description import ModelDescription
from tuition.params import Params
from tuition.training.data import TrainingSet
from tuition.training.networks import logits_of
from tuition.training.run import describe, read_evaluated, read_split, train

METHOD = "pool-ckd"  # needs no label, and nothing of the rest


def with_students(params: Params, budget: int, name: str, fitted: Fitted, bought: Bought) -> Fitted:
    """The blend of an estimator and of `estimate.students` students, by the bought answers that each held out."""
    return blend({name: fitted, "students": fit_students(params, budget, bought)}, bought.target)


def fit_students(params: Params, budget: int, bought: Bought) -> Fitted:
    """`estimate.students` students of the study's architecture and `train`, each without one part of the bought answers; their mean."""
    samples, parts = read_split("train")[0], folds(len(bought.positions), params.estimate.students)
    total = np.zeros((len(samples), bought.logits.shape[1]), dtype=np.float32)
    held_out = np.zeros(bought.logits.shape, dtype=np.float32)
    for one in range(parts.max() + 1):
        kept = bought.part(parts != one)
        logits = _answers(*_trained(params, budget, one, kept, samples), samples)
        held_out[parts == one] = logits[bought.positions[parts == one]]
        total += logits / (parts.max() + 1)
    return Fitted(lambda rows: total[rows], held_out, {})


def _trained(
    params: Params, budget: int, seed: int, bought: Bought, samples: Samples
) -> tuple[ModelDescription, dict[str, torch.Tensor]]:
    model = describe(params.student.arch, samples, params.student.taps, params.student)
    data = TrainingSet(
        np.array(samples[bought.positions]),
        np.full(len(bought.positions), -1),
        {"logits": bought.logits.astype(np.float32)},
    )
    done, _ = train(
        f"estimate-{budget}-{seed}",
        model,
        build(METHOD),
        params.train.model_copy(update={"rest": "none", "devices": 1}),
        seed,
        data,
        validation=read_evaluated("val", budget),
    )
    return model, done.best


def _answers(model: ModelDescription, weights: dict[str, torch.Tensor], samples: Samples) -> np.ndarray:
    """The student's logits (N, C) of samples (N, …), less their mean over the classes."""
    network = make(model)
    network.load_state_dict(weights)
    network.eval()
    logits = logits_of(network, model, samples, len(samples))
    return logits - logits.mean(axis=1, keepdims=True)

"""The study's best student, and what it answers to the samples whose answers are owned. The one file here that runs a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.report.study import Key
from tuition.files import read_array
from tuition.inputs.bought import read_bought
from tuition.workspace import Workspace, cell_name

GALLERY_MOST = 20_000  # owned samples that the student is asked about


def best_cell(study: dict[str, Any]) -> Key:
    """By validation alone, as `register` chooses: highest val_top1, then lowest val_nll, fewest calls, name."""

    def rank(cell: Key) -> tuple[float, float, int, str]:
        found = study["metrics"][cell]
        return -found["val_top1"], found["val_nll"], study["spend"][cell[0]]["calls"], cell_name(*cell)

    return min(study["metrics"], key=rank)


@dataclass(frozen=True)
class Owned:
    """Owned samples (m, …) with the teacher's classes and the labels (m,), −1 where not known, and places in data/train."""

    samples: Any
    positions: np.ndarray
    teacher: np.ndarray
    labels: np.ndarray


def owned(budget: int) -> Owned | None:
    """What `budget` bought; None where the answers name no class, or the files are not there."""
    here, outputs = Workspace(), Workspace().outputs(budget)
    train = here.split("train")
    if not (outputs.positions.is_file() and train.labels.is_file()):
        return None
    positions = np.asarray(read_array(outputs.positions))[:GALLERY_MOST]
    classes = top_classes(outputs.signal("label"), outputs.signal("logits"))
    if classes is None:
        return None
    from tuition.inputs.kinds import workspace_inputs

    inputs = workspace_inputs()
    samples = read_bought(inputs, inputs.read(train.path), outputs.path)
    return Owned(samples, positions, classes[:GALLERY_MOST], np.asarray(read_array(train.labels))[positions])


def top_classes(label: Any, logits: Any) -> np.ndarray | None:
    """The teacher's classes (m,), from whichever array is there; −1 where a row holds no score."""
    if label.is_file():
        return np.asarray(read_array(label)).reshape(-1).astype(np.int64)
    if not logits.is_file():
        return None
    scores = np.asarray(read_array(logits), dtype=np.float64)
    known = ~np.isnan(scores)
    return np.where(known.any(axis=1), np.where(known, scores, -np.inf).argmax(axis=1), -1)


def ask(cell: Key, samples: Any, count: int) -> np.ndarray | None:
    """The student's logits (count, C) of the first rows of `samples`; None where its weights are not there."""
    folder = Workspace().student(cell_name(*cell))
    if not (folder.weights.is_file() and folder.description.is_file()) or not count:
        return None
    from tuition.models import load_student
    from tuition.training.networks import logits_of

    network, description = load_student(folder.path)
    return logits_of(network, description, samples, count)

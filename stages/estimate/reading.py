"""What estimates are made of: the features of the pool, and the answers that a budget bought."""

from dataclasses import dataclass

import numpy as np

from tuition import features
from tuition.errors import UserError
from tuition.estimates import fingerprint
from tuition.estimators import Bought
from tuition.estimators.answers import bounded, of_labels, of_samples
from tuition.files import digest, read_array, read_json
from tuition.targets.classes import complete
from tuition.workspace import Outputs, Workspace

ROWS = 100_000  # of features whose sha256 is taken together


@dataclass(frozen=True)
class Given:
    """The bought answers and the pool's features, the classes' names, and the sha256 of the answers and of the features."""

    bought: Bought
    classes: list[str]
    outputs: str
    features: str


def read_given(budget: int) -> Given:
    """Raises UserError where the budget bought neither logits nor labels, and where features or answers cannot be used."""
    here = Workspace()
    outputs, classes = here.outputs(budget), [str(name) for name in read_json(here.data.meta)["classes"]]
    pool = features.read("train", len(read_array(here.split("train").ids)))
    positions, logits = of_samples(read_array(outputs.positions), read_answers(outputs, len(classes)))
    marks = [digest(pool[start : start + ROWS]) for start in range(0, len(pool), ROWS)]
    sha = marks[0] if len(marks) == 1 else digest(np.array(marks))
    return Given(Bought(pool, positions, logits), classes, fingerprint(outputs), sha)


def read_answers(outputs: Outputs, classes: int) -> np.ndarray:
    """Logits (n, C) float32 of the answers in an export, whether they are logits, probabilities, the top few classes or labels."""
    for name in ("logits", "label"):
        if (path := outputs.signal(name)).exists():
            answers = read_array(path)
            return bounded(complete(answers)) if name == "logits" else of_labels(answers.reshape(-1), classes)
    present = ", ".join(read_json(outputs.meta)["signals"])
    raise UserError(f"{outputs}: estimates need logits or labels, but only {present} was bought")

"""What a cell's student learns of samples that were not bought: `train.rest`."""

import numpy as np

from tuition import estimates
from tuition.errors import UserError
from tuition.inputs.protocol import Samples
from tuition.losses.labelled import UNKNOWN
from tuition.params import StudentTraining


def read_rest(
    settings: StudentTraining, budget: int, samples: Samples, labels: np.ndarray, bought: np.ndarray, classes: int
) -> dict[str, np.ndarray]:
    """Of the pool (samples (N, …), labels (N,)) without `bought` (n,) positions: inputs (M, …), target (M, C) float32, weight (M,) float32.

    `estimated`: the estimates of `estimates/<budget>/`, weighed by their confidence; `labelled`: the labels of those that have one;
    `both`: the mean of the two where there are both. Nothing with `none`. Raises UserError where no sample is left.
    """
    if settings.rest == "none":
        return {}
    target = np.zeros((len(samples), classes), dtype=np.float32)
    weight = np.zeros(len(samples), dtype=np.float32)
    if settings.rest in ("estimated", "both"):
        found = estimates.read(budget)
        sure = found.confidence >= settings.rest_confidence
        target[found.positions[sure]] = found.probabilities[sure]
        weight[found.positions[sure]] = found.confidence[sure]
    if settings.rest in ("labelled", "both"):
        known = np.flatnonzero(labels != UNKNOWN)
        share = np.where(weight[known] > 0, 0.5, 1.0).astype(np.float32)
        target[known] *= 1 - share[:, None]
        target[known, labels[known]] += share
        weight[known] = 1.0
    weight[bought] = 0.0
    rows = np.flatnonzero(weight)
    if not len(rows):
        raise UserError(
            f"train.rest: {settings.rest}: no sample of the pool is left that was not bought and has "
            f"{'a label' if settings.rest == 'labelled' else f'an estimate of confidence {settings.rest_confidence:g} or more'}; set none"
        )
    return {
        "inputs": np.array(samples[rows]),
        "target": target[rows],
        "weight": weight[rows] * np.float32(settings.rest_weight),
    }

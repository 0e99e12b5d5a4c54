"""What a cell's student learns of samples that were not bought: `train.rest`."""

import numpy as np

from tuition import estimates
from tuition.errors import UserError
from tuition.inputs.protocol import Samples
from tuition.losses.labelled import UNKNOWN
from tuition.params import StudentTraining

LEFT = {  # what must be known of a sample
    "estimated": "has an estimate of confidence {0:g} or more",
    "labelled": "has a label",
    "both": "has a label or an estimate of confidence {0:g} or more",
    "unlabelled": "was not bought",
}


def read_rest(
    settings: StudentTraining,
    budget: int,
    samples: Samples,
    labels: np.ndarray,
    bought: np.ndarray,
    sha256: str | None = None,
) -> dict[str, np.ndarray]:
    """Of the pool (samples (N, …), labels (N,)) without `bought` (n,) positions, as `TrainingSet.rest` has it; nothing with `none`.
    `sha256` is that of the estimates, as the comparison set names them.

    `estimated`: the estimates of `estimates/<budget>/`, weighed by their confidence; `labelled`: the labels of those that have one;
    `both`: the mean of the two where there are both; `unlabelled`: neither. Raises UserError where no sample is left.
    """
    if settings.rest == "none":
        return {}
    known = labels != UNKNOWN if settings.rest in ("labelled", "both") else np.zeros(len(labels), dtype=bool)
    weight, sure = known.astype(np.float32), np.zeros(len(labels), dtype=bool)
    if settings.rest == "unlabelled":
        weight[:] = 1
    found = estimates.read(budget, sha256) if settings.rest in ("estimated", "both") else None
    if found:
        sure[found.positions] = found.confidence >= settings.rest_confidence
        weight[found.positions] = np.where(known[found.positions], 1.0, found.confidence * sure[found.positions])
    weight[bought] = 0.0
    rows = np.flatnonzero(weight)
    if not len(rows):
        what = LEFT[settings.rest].format(settings.rest_confidence)
        raise UserError(
            f"train.rest: {settings.rest}: no sample of the pool is left that was not bought and {what}; set none"
        )
    rest = {
        "inputs": np.array(samples[rows]),
        "weight": weight[rows] * np.float32(settings.rest_weight),
        "labels": np.where(known, labels, UNKNOWN)[rows],
        "share": np.where(known, np.where(sure, 0.5, 1.0), 0.0).astype(np.float32)[rows],
    }
    if found:  # a row for every sample that was not bought
        rest["estimated"] = found.probabilities[np.searchsorted(found.positions, rows)]
    return rest

"""From what a server calls scores to logits."""

import numpy as np

FLOOR = 1e-12  # the least probability that is told from none: its logit is -27.6
TOLERANCE = 1e-3  # by how much rounded probabilities may miss 0, 1 and their sum


def as_logits(values: np.ndarray, scores: str) -> np.ndarray:
    """values (B, C) as `teacher.scores` says they are, logits or probabilities -> logits (B, C) float32.

    The logit of a probability p is log p, with p clipped from below at 1e-12: a softmax of these gives the probabilities back. A value
    that is no probability (below 0 or above 1 by more than 1e-3) becomes NaN, which is no answer.
    """
    if scores == "logits":
        return np.asarray(values, dtype=np.float32)
    given = np.asarray(values, dtype=np.float64)
    strange = (given < -TOLERANCE) | (given > 1 + TOLERANCE)
    return np.where(strange, np.nan, np.log(np.clip(given, FLOOR, 1.0))).astype(np.float32)


def look_like_probabilities(values: np.ndarray) -> bool:
    """Whether each row of values (n, C) is non-negative and sums to 1 within 1e-3; n ≥ 1 and C ≥ 2."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] < 1 or given.shape[1] < 2:
        return False
    return bool((given >= 0).all() and (np.abs(given.sum(1) - 1) <= TOLERANCE).all())

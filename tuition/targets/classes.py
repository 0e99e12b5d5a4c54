"""From what a server calls scores to logits, and from logits of which some are unknown to whole ones.

Logits of which some are unknown (NaN: a teacher that names its first few classes) are natural logarithms of probabilities.
"""

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


def complete(logits: np.ndarray) -> np.ndarray:
    """Logits (n, C) without the unknown: the probability that a row leaves over is spread evenly over its unknown classes.

    None of them gets more than the least known class, as a class that is not among the first few has no more, nor less than 1e-12.
    Logits that are all known are given back as they are. Every reader of bought logits reads them through this.
    """
    unknown = np.isnan(logits)
    if not unknown.any():
        return logits
    known = np.where(unknown, 0.0, np.exp(np.where(unknown, 0.0, logits).astype(np.float64)))
    left = np.maximum(1.0 - known.sum(1, keepdims=True), 0.0)
    even = left / np.maximum(unknown.sum(1, keepdims=True), 1)
    least = np.where(unknown, np.inf, known).min(1, keepdims=True)
    spread = np.log(np.maximum(np.minimum(even, least), FLOOR))
    return np.where(unknown, spread, logits).astype(np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logits (n, C), completed where some are unknown -> probabilities (n, C) float64."""
    whole = complete(logits)
    shifted = np.exp(whole.astype(np.float64) - whole.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def top_class(logits: np.ndarray) -> np.ndarray:
    """The class (n,) int64 with the highest of the known logits (n, C)."""
    return np.nanargmax(logits, axis=1).astype(np.int64)

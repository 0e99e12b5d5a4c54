"""From what teachers give, labels or logits that may be logarithms of probabilities, to logits that can be learnt from."""

import numpy as np

LEAST = (
    1e-4  # of a probability: below it the logarithm says how an answer was rounded, and a regression would learn that
)


def of_labels(labels: np.ndarray, classes: int) -> np.ndarray:
    """Logits (n, C) float32 of a teacher that names a class (n,) and no more."""
    return np.where(np.arange(classes) == labels[:, None], 0.0, np.log(LEAST)).astype(np.float32)


def bounded(logits: np.ndarray) -> np.ndarray:
    """Logits (n, C) as they are, but logarithms of probabilities no smaller than those of LEAST."""
    wide = logits.astype(np.float64)
    is_log = np.abs(np.exp(wide).sum(axis=1, keepdims=True) - 1) < 1e-2
    return np.where(is_log, np.maximum(wide, np.log(LEAST)), wide).astype(np.float32)


def of_samples(positions: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(positions (m,), logits (m, C)): a row a sample, the mean over the views of it that were bought; rising positions."""
    samples, place, count = np.unique(positions, return_inverse=True, return_counts=True)
    total = np.zeros((len(samples), logits.shape[1]))
    np.add.at(total, place, logits)
    return samples, (total / count[:, None]).astype(np.float32)

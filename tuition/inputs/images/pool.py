"""What is made of images before any is bought: features that cost no call, and mixtures."""

import numpy as np

SIDE = 8  # pooled pixels a side


def features(samples: np.ndarray) -> np.ndarray:
    """images (n, C, H, W) uint8 -> (n, C · ≤ SIDE²) float64: each image averaged to SIDE × SIDE.

    Pixels share one unit, so none is rescaled: dividing by each one's deviation would make the corners, where few images have any
    ink, count most.
    """
    down, across = (_averages(length) for length in samples.shape[2:])
    return (down @ samples @ across.T).reshape(len(samples), -1)


def mix(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """share · one + (1 − share) · other, of images (m, C, H, W) uint8 and shares (m,), rounded to uint8."""
    share = share.reshape(-1, 1, 1, 1)
    return np.rint(share * one + (1 - share) * other).astype(np.uint8)


def _averages(length: int) -> np.ndarray:
    """(≤ SIDE, length): each row averages a stretch of pixels; together they cover all, and overlap where SIDE is no divisor."""
    bins = min(SIDE, length)
    weights = np.zeros((bins, length))
    for number in range(bins):
        first, last = number * length // bins, -(-(number + 1) * length // bins)
        weights[number, first:last] = 1 / (last - first)
    return weights

"""Nearest neighbours: the mean of the answers to the most similar bought samples, weighted by similarity.

The estimate is log Σ_j w_j p_j over the k bought samples with the largest cosine, p_j the teacher's probabilities and
w_j ∝ exp(β (cos_j − cos_1)). k and β are chosen by the held-out estimates: those of a bought sample among the others.
"""

import numpy as np

from tuition.estimators.protocol import Bought, Fitted, best_scale, unit_rows

NEIGHBOURS = (1, 3, 5, 10, 20, 50)
SHARPNESS = (0.0, 5.0, 20.0)
FLOOR = 1e-4  # of a probability: what no neighbour was told is not impossible
ROWS = 1000  # of the pool whose neighbours are held together


def fit(bought: Bought) -> Fitted:
    """O(n² d) once, O(n d + k C) a sample."""
    unit, probabilities = unit_rows(bought.features), bought.target.astype(np.float32)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    most = min(max(NEIGHBOURS), len(unit) - 1)
    near = _nearest(similarity, most)

    def held_out(k: int, sharpness: float) -> np.ndarray:
        return _vote(similarity, near[:, :k], sharpness, probabilities)

    choices = [(k, sharpness) for k in sorted({min(k, most) for k in NEIGHBOURS}) for sharpness in SHARPNESS]
    scored = [(best_scale(bought.target, held_out(*one)), one) for one in choices]
    (scale, _), (k, sharpness) = min(scored, key=lambda one: one[0][1])

    def estimate(rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), probabilities.shape[1]), dtype=np.float32)
        for start in range(0, len(rows), ROWS):
            similar = unit_rows(bought.pool[rows[start : start + ROWS]]) @ unit.T
            found[start : start + ROWS] = _vote(similar, _nearest(similar, k), sharpness, probabilities)
        return np.float32(scale) * found

    settings: dict[str, float | str] = {"neighbours": k, "sharpness": sharpness, "scale": scale}
    return Fitted(estimate, np.float32(scale) * held_out(k, sharpness), settings)


def _nearest(similarity: np.ndarray, k: int) -> np.ndarray:
    """The places of the k largest of each row, largest first (B, k)."""
    some = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def _vote(similarity: np.ndarray, near: np.ndarray, sharpness: float, probabilities: np.ndarray) -> np.ndarray:
    """Logits (B, C) of the neighbours `near` (B, k), each a column of `similarity` (B, n)."""
    cosines = np.take_along_axis(similarity, near, axis=1)
    weights = np.exp(sharpness * (cosines - cosines[:, :1]))
    weights /= weights.sum(axis=1, keepdims=True)
    shares = np.einsum("bk,bkc->bc", weights, probabilities[near])
    return np.log(np.maximum(shares, FLOOR)).astype(np.float32)

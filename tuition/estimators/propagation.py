"""Propagation: ridge's estimates, smoothed over the graph of nearest neighbours of the whole pool (Zhou et al. 2004).

A is the symmetric graph with weights exp(β (cos − 1)) of the k nearest by cosine, S = D^-½ A D^-½. From the estimates F (bought rows hold
their answers), `rounds` times Z ← α S Z + (1 − α) F, either of logits or of probabilities. Which of these, or none, is chosen at the
bought samples, in five folds: for each, ridge is fitted and smoothed anew without its answers, for they are in the estimates of all
neighbours. Memory: N·(2 k + C); time O(N² d), hence a LIMIT.
"""

from typing import Literal

import numpy as np
from scipy import sparse

from tuition.errors import UserError
from tuition.estimators import ridge
from tuition.estimators.protocol import Bought, Fitted, best_scale, folds, softmax, unit_rows

NEIGHBOURS, SHARPNESS, ALPHA = 20, 10.0, 0.8
LIMIT = 100_000  # samples of the pool: minutes on two cores
FLOOR = 1e-6
Space = Literal["none", "logits", "probabilities"]
CHOICES: tuple[tuple[Space, int], ...] = (("none", 0), ("logits", 1), ("probabilities", 1), ("probabilities", 3))


def fit(bought: Bought) -> Fitted:
    """O(N² d) once, and O(N (k + d) C) a fold. Raises UserError for a pool of more than LIMIT samples."""
    if len(bought.pool) > LIMIT:
        raise UserError(
            f"estimate.estimator: 'propagation' holds each sample against every other; the pool has {len(bought.pool)}, "
            f"at most {LIMIT} can be had. Valid: auto, knn, logistic, ridge"
        )
    s, fold = graph(bought.pool), folds(len(bought.positions))
    held = [np.empty(bought.logits.shape, dtype=np.float32) for _ in CHOICES]
    for one in range(fold.max() + 1):
        first, out = _estimates(bought.part(fold != one)), bought.positions[fold == one]
        for found, (space, rounds) in zip(held, CHOICES, strict=True):
            found[fold == one] = _smooth(s, first, space, rounds, out)
    scored = [best_scale(bought.target, found) for found in held]
    place = min(range(len(scored)), key=lambda one: scored[one][1])
    scale, (space, rounds) = np.float32(scored[place][0]), CHOICES[place]
    logits = scale * _smooth(s, _estimates(bought), space, rounds, np.arange(len(bought.pool)))
    settings: dict[str, float | str] = {"space": space, "rounds": rounds, "scale": float(scale)}
    return Fitted(lambda rows: logits[rows], scale * held[place], settings)


def _estimates(bought: Bought) -> np.ndarray:
    """Logits (N, C) float32 of the whole pool: ridge's, and the answers where they were bought."""
    logits = ridge.fit(bought).estimate(np.arange(len(bought.pool)))
    logits[bought.positions] = bought.centred
    return logits


def graph(features: np.ndarray) -> sparse.csr_array:
    """S (N, N) of features (N, d)."""
    from sklearn.neighbors import NearestNeighbors

    unit = unit_rows(features)
    count, k = len(unit), min(NEIGHBOURS, len(unit) - 1)
    nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(unit)
    distances, places = nearest.kneighbors()  # without a sample itself
    cosines = 1 - distances.astype(np.float32) ** 2 / 2  # of rows of length 1
    weights = np.exp(SHARPNESS * (cosines - 1))
    rows = np.repeat(np.arange(count), k)
    near = sparse.csr_array((weights.ravel(), (rows, places.ravel())), shape=(count, count))
    near = near.maximum(near.T)
    degree = 1 / np.sqrt(np.maximum(near.sum(axis=1), 1e-12)).astype(np.float32)
    return sparse.csr_array(sparse.diags_array(degree) @ near @ sparse.diags_array(degree))


def _smooth(s: sparse.csr_array, logits: np.ndarray, space: Space, rounds: int, rows: np.ndarray) -> np.ndarray:
    """Logits (B, C) float32 of `rows` of the pool after so many rounds from logits (N, C)."""
    first = softmax(logits).astype(np.float32) if space == "probabilities" else logits
    values = first
    for left in range(rounds, 0, -1):
        kept = rows if left == 1 else slice(None)  # the last round is that of the rows that are asked for
        values = ALPHA * (s[kept] @ values) + (1 - ALPHA) * first[kept]
    values = values if rounds else first[rows]
    return np.log(np.maximum(values, FLOOR)) if space == "probabilities" else values

"""The best of several estimators: a weighted sum of their logits. The weights are chosen by the held-out estimates alone."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from tuition.estimators import knn, logistic, propagation, ridge
from tuition.estimators.protocol import Bought, Fitted, divergence, softmax

PARTS = {"ridge": ridge.fit, "logistic": logistic.fit, "knn": knn.fit, "propagation": propagation.fit}
START, LEAST = 0.5, 0.01  # a part with a smaller weight is left out


def fit(bought: Bought) -> Fitted:
    """The blend of every part; without propagation for a pool of more than `propagation.LIMIT` samples."""
    large = len(bought.pool) > propagation.LIMIT
    parts = {name: part for name, part in PARTS.items() if not (large and name == "propagation")}
    return blend({name: part(bought) for name, part in parts.items()}, bought.target)


def blend(fitted: dict[str, Fitted], target: np.ndarray) -> Fitted:
    """min over weights w ≥ 0 of the cross-entropy of softmax(Σ w_k held-out_k) against probabilities `target` (n, C); convex in w."""
    held = [one.held_out.astype(np.float64) for one in fitted.values()]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = _total(weights, held)
        slope = (softmax(logits) - target) / len(target)
        return divergence(target, logits), np.array([float((slope * one).sum()) for one in held])

    start = np.full(len(held), START)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(held)).x
    weights = {name: float(weight) for name, weight in zip(fitted, found, strict=True) if weight >= LEAST}
    kept = [fitted[name] for name in weights]
    return Fitted(
        estimate=lambda rows: _total(list(weights.values()), [one.estimate(rows) for one in kept]),
        held_out=_total(list(weights.values()), [one.held_out for one in kept]),
        settings={f"weight_{name}": weight for name, weight in weights.items()},
    )


def _total(weights: Sequence[float] | np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(parts[0])
    for weight, part in zip(weights, parts, strict=True):
        total += part.dtype.type(weight) * part
    return total

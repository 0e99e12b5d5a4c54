"""Several estimators in one: a weighted sum of their logits, the weights chosen by the held-out estimates alone."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from tuition.estimators.protocol import Fitted, divergence, softmax

START = 0.5


def blend(fitted: Sequence[Fitted], answers: np.ndarray) -> Fitted:
    """min over weights w ≥ 0 of the cross-entropy of softmax(Σ w_k held-out_k) against the teacher's `answers` (n, C); convex in w."""
    target, held = softmax(answers), [one.held_out.astype(np.float64) for one in fitted]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = sum(weight * one for weight, one in zip(weights, held, strict=True))
        slope = (softmax(logits) - target) / len(target)
        return divergence(target, logits), np.array([float((slope * one).sum()) for one in held])

    start = np.full(len(held), START)
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(held)).x

    def total(parts: Sequence[np.ndarray]) -> np.ndarray:
        return sum(np.float32(weight) * part for weight, part in zip(weights, parts, strict=True) if weight)

    return Fitted(
        estimate=lambda features: total([one.estimate(features) for one in fitted]),
        held_out=total([one.held_out for one in fitted]),
        settings={f"weight_{place}": float(weight) for place, weight in enumerate(weights)},
    )

"""Multinomial logistic regression on soft targets: for answers that are labels or name only the top classes.

min_W,b mean_i CE(p_i, softmax(W x_i + b)) + λ/2 ‖W‖², by L-BFGS (SciPy), features standardised. λ is chosen by five folds of the bought
samples; the held-out estimates are those of the folds. `Bought.logits` of a label is its completed row.
"""

import numpy as np
from scipy.optimize import minimize

from tuition.estimators.protocol import Bought, Fitted, best_scale, softmax

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
FOLDS, STEPS = 5, 100


def fit(bought: Bought) -> Fitted:
    """O(n d C) a step of L-BFGS; FOLDS × penalties + 1 fits of at most STEPS steps."""
    x, target = bought.features.astype(np.float64), softmax(bought.logits)
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0).mean(), 1e-12)
    x = (x - mean) / spread
    fold = np.random.default_rng(0).permutation(len(x)) % min(FOLDS, len(x))
    tried = []
    for penalty in PENALTIES:
        held = np.empty(target.shape)
        for one in range(fold.max() + 1):
            weights, offset = _fit(x[fold != one], target[fold != one], penalty)
            held[fold == one] = x[fold == one] @ weights + offset
        scale, loss = best_scale(target, held)
        tried.append((loss, scale, penalty, held))
    _, scale, penalty, held = min(tried, key=lambda one: one[0])
    weights, offset = _fit(x, target, penalty)
    slope = (scale * weights / spread).astype(np.float32)
    shift = (scale * offset - mean @ slope).astype(np.float32)
    return Fitted(
        estimate=lambda features: features.astype(np.float32) @ slope + shift,
        held_out=(scale * held).astype(np.float32),
        settings={"penalty": penalty, "scale": scale},
    )


def _fit(x: np.ndarray, target: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    d, c = x.shape[1], target.shape[1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, offset = flat[: d * c].reshape(d, c), flat[d * c :]
        logits = x @ weights + offset
        top = logits.max(axis=1, keepdims=True)
        e = np.exp(logits - top)
        total = e.sum(axis=1, keepdims=True)
        value = float((np.log(total[:, 0]) + top[:, 0] - (target * logits).sum(axis=1)).mean())
        slope = (e / total - target) / len(x)
        gradient = np.concatenate([(x.T @ slope + penalty * weights).ravel(), slope.sum(axis=0)])
        return value + 0.5 * penalty * float((weights**2).sum()), gradient

    start = np.zeros(d * c + c)
    start[d * c :] = np.log(np.maximum(target.mean(axis=0), 1e-6))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return found[: d * c].reshape(d, c), found[d * c :]

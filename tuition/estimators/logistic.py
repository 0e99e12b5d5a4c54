"""Multinomial logistic regression on soft targets: for answers that are labels or name only the top classes.

min_W,b mean_i CE(p_i, softmax(W x_i + b)) + λ/2 ‖W‖², by L-BFGS (SciPy), features centred and on one scale. λ is chosen by five
folds of the bought samples; the held-out estimates are those of the folds.
"""

import numpy as np
from scipy.optimize import minimize

from tuition.estimators.protocol import Bought, Fitted, best_scale, folds

PENALTIES = (1e-1, 1e-2, 1e-3)  # each begins at the weights of the one before
STEPS = 60


def fit(bought: Bought) -> Fitted:
    """O(n d C) a step of L-BFGS; at most STEPS steps for each penalty and fold, and for each penalty at the end."""
    x, target = bought.features, bought.target.astype(np.float32)
    mean = x.mean(axis=0)
    spread = max(float(x.std(axis=0).mean()), float(np.finfo(np.float32).tiny))
    x = (x - mean) / spread
    fold = folds(len(x))
    held = [np.empty(target.shape, dtype=np.float32) for _ in PENALTIES]
    for one in range(fold.max() + 1):
        for found, (weights, offset) in zip(held, _path(x[fold != one], target[fold != one]), strict=True):
            found[fold == one] = x[fold == one] @ weights + offset
    scored = [best_scale(target, found) for found in held]
    place = min(range(len(scored)), key=lambda one: scored[one][1])
    scale = scored[place][0]
    weights, offset = _path(x, target, place + 1)[place]
    slope = (scale * weights / spread).astype(np.float32)
    shift = (scale * offset - mean @ slope).astype(np.float32)
    return Fitted(
        estimate=lambda rows: np.asarray(bought.pool[rows], dtype=np.float32) @ slope + shift,
        held_out=(scale * held[place]).astype(np.float32),
        settings={"penalty": PENALTIES[place], "scale": scale},
    )


def _path(x: np.ndarray, target: np.ndarray, count: int = len(PENALTIES)) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (d, C) and offset (C,) at each of the first `count` penalties."""
    d, c = x.shape[1], target.shape[1]
    flat = np.zeros(d * c + c)
    flat[d * c :] = np.log(np.maximum(target.mean(axis=0), 1e-6))
    found = []
    for penalty in PENALTIES[:count]:
        arguments = (x, target, penalty)
        flat = minimize(_loss, flat, arguments, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
        found.append((flat[: d * c].reshape(d, c), flat[d * c :]))
    return found


def _loss(flat: np.ndarray, x: np.ndarray, target: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """The penalised cross-entropy at `flat`, weights and offset in one row, and its gradient."""
    d, c = x.shape[1], target.shape[1]
    single = flat.astype(x.dtype)
    weights, offset = single[: d * c].reshape(d, c), single[d * c :]
    logits = x @ weights + offset
    logits -= logits.max(axis=1, keepdims=True)
    e = np.exp(logits)
    total = e.sum(axis=1, keepdims=True)
    value = float((np.log(total[:, 0]) - (target * logits).sum(axis=1)).mean())
    slope = (e / total - target) / len(x)
    gradient = np.concatenate([(x.T @ slope + penalty * weights).ravel(), slope.sum(axis=0)])
    return value + 0.5 * penalty * float((weights**2).sum()), gradient.astype(np.float64)

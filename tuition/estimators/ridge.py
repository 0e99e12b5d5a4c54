"""Ridge regression from features to centred logits: closed form, every penalty from one eigendecomposition.

With X (n, d) and Y (n, C) centred and XᵀX = V diag(s) Vᵀ, the weights at penalty λ are V (diag(s) + λ)⁻¹ Vᵀ XᵀY. The estimate of a
bought sample without its own answer has a closed form too (Allen 1974): y_i − r_i / (1 − h_ii), with the residual r and the
leverage h_ii = Σ_j (x_i · v_j)² / (s_j + λ) + 1/n. The penalty is the one whose held-out estimates, scaled, are nearest to the
teacher's probabilities (cross-entropy).
"""

import numpy as np

from tuition.estimators.protocol import Bought, Fitted, best_scale

PENALTIES = np.geomspace(1e-3, 1e3, 25)  # times the mean over the features of their squares summed over the bought


def fit(bought: Bought) -> Fitted:
    """The penalty and the scale are chosen by the held-out estimates. O(n d² + d³) once, O(n d C) a penalty."""
    x, y = bought.features.astype(np.float64), bought.centred
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    s, v = np.linalg.eigh(x.T @ x)
    s = np.clip(s, 0, None)
    z, unit = x @ v, max(float(s.mean()), float(np.finfo(np.float32).tiny))
    zy = z.T @ y

    def held_out(penalty: float) -> np.ndarray:
        inverse = 1 / (s + penalty * unit)
        residual = y - z @ (inverse[:, None] * zy)
        leverage = (z**2 @ inverse) + 1 / len(x)
        return y + y_mean - residual / np.clip(1 - leverage, 1e-9, None)[:, None]

    scored = [(best_scale(bought.target, held_out(one)), one) for one in PENALTIES.tolist()]
    (scale, _), penalty = min(scored, key=lambda one: one[0][1])
    weights = (scale * v @ (zy / (s + penalty * unit)[:, None])).astype(np.float32)
    offset = (scale * y_mean - x_mean @ weights).astype(np.float32)
    return Fitted(
        estimate=lambda rows: np.asarray(bought.pool[rows], dtype=np.float32) @ weights + offset,
        held_out=(scale * held_out(penalty)).astype(np.float32),
        settings={"penalty": penalty, "scale": scale},
    )

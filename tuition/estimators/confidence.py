"""How sure an estimate is: the chance that its top class is the teacher's, calibrated where the teacher's answer is known."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from tuition.estimators.protocol import softmax

PRIOR = 1.0  # answers' worth, for slope 1 and offset 0: a handful of samples that all agree gives no certainty
LEVEL = 0.95  # of the interval


@dataclass(frozen=True)
class Confidence:
    """A calibrated slope and offset, `held_out` answers that they come from, and the share of these that the estimates named."""

    slope: float
    offset: float
    agreement: float
    held_out: int

    def of(self, logits: np.ndarray) -> np.ndarray:
        """The chance (B,) float64 that the top class of logits (B, C) is the teacher's."""
        return 1 / (1 + np.exp(-(self.slope * _margin(logits) + self.offset)))


def calibrate(held_out: np.ndarray, logits: np.ndarray) -> Confidence:
    """By logistic regression (Platt 1999) on the log-odds of the top probability, of the held-out estimates (n, C) of `logits` (n, C)."""
    agree = (held_out.argmax(axis=1) == logits.argmax(axis=1)).astype(np.float64)
    margin = _margin(held_out)

    def loss(parameters: np.ndarray) -> float:
        slope, offset = parameters
        z = slope * margin + offset
        return float((np.logaddexp(0, z) - agree * z).mean() + PRIOR / len(z) * ((slope - 1) ** 2 + offset**2))

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
    return Confidence(float(slope), float(offset), float(agree.mean()), len(agree))


def interval(share: float, n: int) -> tuple[float, float]:
    """A share that was measured on n samples, from where to where it may be (Wilson's interval at LEVEL)."""
    z = float(norm.ppf(0.5 + LEVEL / 2))
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((centre - half) / (1 + z**2 / n)), float((centre + half) / (1 + z**2 / n))


def _margin(logits: np.ndarray) -> np.ndarray:
    """Log-odds of the top probability (B,)."""
    top = np.clip(softmax(logits).max(axis=-1), 1e-6, 1 - 1e-6)
    return np.log(top / (1 - top))

"""How sure an estimate is: the chance that its top class is the teacher's, calibrated where the teacher's answer is known."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from tuition.estimators.protocol import softmax

PRIOR = 1e-2  # on slope and offset, so that a handful of samples that all agree gives no certainty


@dataclass(frozen=True)
class Confidence:
    """`agreement` with the teacher, expected of samples like the bought ones, with a 95 % interval (Wilson); and a calibrated slope."""

    agreement: float
    low: float
    high: float
    slope: float
    offset: float

    def of(self, logits: np.ndarray) -> np.ndarray:
        """The chance (B,) that the top class of logits (B, C) is the teacher's."""
        return 1 / (1 + np.exp(-(self.slope * _margin(logits) + self.offset)))


def calibrate(held_out: np.ndarray, answers: np.ndarray) -> Confidence:
    """By Platt's logistic regression (1999 [abs]) on log-odds of the top probability, at the held-out estimates (n, C) of `answers` (n, C)."""
    agree = (held_out.argmax(axis=1) == answers.argmax(axis=1)).astype(np.float64)
    margin = _margin(held_out)

    def loss(parameters: np.ndarray) -> float:
        slope, offset = parameters
        z = slope * margin + offset
        return float((np.logaddexp(0, z) - agree * z).mean() + PRIOR * ((slope - 1) ** 2 + offset**2))

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
    low, high = _wilson(agree.mean(), len(agree))
    return Confidence(float(agree.mean()), low, high, float(slope), float(offset))


def _margin(logits: np.ndarray) -> np.ndarray:
    """Log-odds of the top probability (B,)."""
    top = np.clip(softmax(logits).max(axis=-1), 1e-6, 1 - 1e-6)
    return np.log(top / (1 - top))


def _wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    z = float(norm.ppf(0.5 + level / 2))
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((centre - half) / (1 + z**2 / n)), float((centre + half) / (1 + z**2 / n))

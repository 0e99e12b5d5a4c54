"""What an estimator is given and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tuition.errors import UserError


@dataclass(frozen=True)
class Bought:
    """Features (n, d) of the bought samples, and the teacher's logits (n, C) for them.

    Raises UserError where their rows differ, where one is not finite, and for fewer than two samples.
    """

    features: np.ndarray
    logits: np.ndarray

    def __post_init__(self) -> None:
        if len(self.features) != len(self.logits):
            raise UserError(f"features: {len(self.features)} rows, but {len(self.logits)} samples were bought")
        if len(self.logits) < 2:
            raise UserError(f"estimate: {len(self.logits)} bought samples; at least 2 are needed")
        for name, values in (("features", self.features), ("logits", self.logits)):
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                raise UserError(f"{name}: {int(bad.sum())} rows hold values that are not finite; the first is row {int(bad.argmax())}")

    @property
    def centred(self) -> np.ndarray:
        """Logits less their mean over the classes, (n, C) float64: a softmax does not see what is taken away."""
        wide = self.logits.astype(np.float64)
        return wide - wide.mean(axis=1, keepdims=True)


@dataclass(frozen=True)
class Fitted:
    """`estimate(features (B, d)) -> logits (B, C)` float32, on the teacher's scale; and how it does where the answer is known.

    `held_out` (n, C) float32: the estimates of the bought samples, each made without its own answer. `settings`: what was chosen by them.
    """

    estimate: Callable[[np.ndarray], np.ndarray]
    held_out: np.ndarray
    settings: dict[str, float]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    wide = logits.astype(np.float64)
    e = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def divergence(target: np.ndarray, logits: np.ndarray) -> float:
    """Mean over rows of the cross-entropy of softmax(logits) (n, C) against probabilities `target` (n, C), in nats."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(wide - top).sum(axis=1)) + top[:, 0]
    return float((log_sum - (target * wide).sum(axis=1)).mean())


SCALES = np.geomspace(0.25, 8.0, 21)


def best_scale(target: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """(the factor on `logits` (n, C) that fits probabilities `target` (n, C) best, the cross-entropy with it).

    An estimate that is regularised is too flat: a regression's outputs are drawn to their mean (temperature scaling, Guo et al. 2017,
    arXiv 1706.04599 [abs], with the teacher's probabilities in the place of labels).
    """
    losses = [divergence(target, factor * logits) for factor in SCALES]
    place = int(np.argmin(losses))
    return float(SCALES[place]), losses[place]

"""What an estimator is given and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tuition.errors import UserError

ROWS = 10_000  # of the pool that are looked at together


@dataclass(frozen=True)
class Bought:
    """Features of a pool (N, d), maybe memory-mapped; which of its samples were bought (n,), none twice; the teacher's logits (n, C)."""

    pool: np.ndarray
    positions: np.ndarray
    logits: np.ndarray

    @cached_property
    def features(self) -> np.ndarray:
        """Those of the bought samples (n, d), float32."""
        return np.asarray(self.pool[self.positions], dtype=np.float32)

    @cached_property
    def target(self) -> np.ndarray:
        """The teacher's probabilities (n, C), float64."""
        return softmax(self.logits)

    @property
    def centred(self) -> np.ndarray:
        """Logits less their mean over the classes, (n, C) float64: a softmax does not see what is taken away."""
        wide = self.logits.astype(np.float64)
        return wide - wide.mean(axis=1, keepdims=True)

    @property
    def unseen(self) -> np.ndarray:
        """The classes that no bought sample has at its top."""
        return np.setdiff1d(np.arange(self.logits.shape[1]), self.logits.argmax(axis=1))

    def part(self, kept: np.ndarray) -> "Bought":
        """As if only the answers `kept` (n,) bool had been bought."""
        return Bought(self.pool, self.positions[kept], self.logits[kept])


def check(bought: Bought) -> None:
    """Raises UserError for rows that do not fit, features that are not finite or the same in every row, fewer than two samples, and
    where the teacher names one class only."""
    positions, logits = bought.positions, bought.logits
    if len(positions) != len(logits):
        raise UserError(f"estimate: {len(logits)} answers of {len(positions)} samples")
    if len(positions) < 2:
        raise UserError(f"estimate: {len(positions)} samples were bought; at least 2 are needed")
    if positions.max() >= len(bought.pool):
        raise UserError(f"features: {len(bought.pool)} rows, but sample {positions.max()} was bought; encode anew")
    if not (finite := np.isfinite(logits).all(axis=1)).all():
        raise UserError(f"answers: {(~finite).sum()} rows are not finite; the first is row {int(finite.argmin())}")
    if len(tops := np.unique(logits.argmax(axis=1))) < 2:
        raise UserError(
            f"estimate: the teacher names class {tops[0]} for each of {len(positions)} samples; two classes are needed: "
            "buy more, or set estimate.estimator: none"
        )
    _check_features(bought.pool)


def _check_features(pool: np.ndarray) -> None:
    constant = True
    for start in range(0, len(pool), ROWS):
        block = pool[start : start + ROWS]
        if not (finite := np.isfinite(block).all(axis=1)).all():
            raise UserError(f"features: row {start + int(finite.argmin())} holds values that are not finite")
        constant = constant and bool((block == pool[0]).all())
    if constant:
        raise UserError(f"features: all {len(pool)} rows are the same, so they tell no sample from another")


def folds(count: int, most: int = 5) -> np.ndarray:
    """Which of at most `most` parts each of `count` answers belongs to (count,); the same at every call."""
    return np.random.default_rng(0).permutation(count) % min(most, count)


@dataclass(frozen=True)
class Fitted:
    """`estimate(rows (B,)) -> logits (B, C)` float32 of samples of the pool, on the teacher's scale; and what is known of them.

    `held_out` (n, C) float32: the estimates of the bought samples, each made without its own answer. `settings`: what was chosen by them.
    """

    estimate: Callable[[np.ndarray], np.ndarray]
    held_out: np.ndarray
    settings: dict[str, float | str]


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

    An estimate that is regularised is too flat: a regression's outputs are drawn to their mean. This is temperature scaling (Guo et al.
    2017, arXiv 1706.04599) with the teacher's probabilities in the place of labels.
    """
    losses = [divergence(target, factor * logits) for factor in SCALES]
    place = int(np.argmin(losses))
    return float(SCALES[place]), losses[place]


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows (B, d) float32 of length 1; zeros stay zeros."""
    wide = np.asarray(features, dtype=np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)

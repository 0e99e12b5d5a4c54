"""Comparison sets: sparse zero-sum combinations of bought samples.

A set is `members` (M, k) int32, rows of the bought outputs, and `weights` (M, k) float32 whose rows sum to zero. The difference
vectors are Δ = Σ_k weights · outputs[members], for teacher, student and labels alike. Groups have k distinct samples; where no
weights are given they are those of Comparative Knowledge Distillation (arXiv 2311.02253 [code]): the first ⌈k/2⌉ averaged
against the other ⌊k/2⌋. Members of equal weight are exchangeable: their order does not tell groups apart.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb

import numpy as np

from tuition.errors import UserError, unknown

NEIGHBOURS = 10  # nearest comparisons a sample starts, at most
TOLERANCE = 1e-6  # of the sum of weights


def group_weights(k: int) -> np.ndarray:
    """(k,) float64: +1/⌈k/2⌉ for the first half, −1/⌊k/2⌋ for the other; sums to zero."""
    positive = k - k // 2
    return np.concatenate([np.full(positive, 1 / positive), np.full(k // 2, -1 / (k // 2))])


def checked_weights(where: str, k: int, weights: Sequence[float] | None) -> np.ndarray:
    """One group's weights (k,) float64: those given, or `group_weights(k)` where none are.

    Raises UserError, naming the key `where`, unless there are k of them, none is zero and they sum to zero.
    """
    if weights is None:
        return group_weights(k)
    found = np.array(weights, dtype=np.float64)
    if len(found) != k or not np.isfinite(found).all() or not found.all() or abs(found.sum()) > TOLERANCE:
        raise UserError(
            f"{where}: found {list(weights)}, expected k = {k} numbers, none of them zero, that sum to zero"
        )
    return found


def _random(
    weights: np.ndarray, limit: int, rng: np.random.Generator, logits: np.ndarray | None, labels: np.ndarray
) -> np.ndarray:
    """Groups drawn once over all samples, ignoring class; all that there are where they are no more than the limit, a pair then in both
    orientations."""
    n, k = len(labels), len(weights)
    if _count(n, weights) <= limit:
        return rng.permutation(_every(n, weights))
    return _distinct(lambda count: rng.integers(n, size=(count, k)), limit, n, weights)


def _balanced(
    weights: np.ndarray, limit: int, rng: np.random.Generator, logits: np.ndarray | None, labels: np.ndarray
) -> np.ndarray:
    """Every member's class is drawn evenly first, then the sample: a rare class is compared as often as a common one."""
    k = len(weights)
    classes, of = np.unique(labels, return_inverse=True)
    by_class = np.argsort(of, kind="stable")
    start, size = np.searchsorted(of[by_class], np.arange(len(classes))), np.bincount(of)

    def draw(count: int) -> np.ndarray:
        chosen = rng.integers(len(classes), size=(count, k))
        return by_class[start[chosen] + rng.integers(size[chosen])]

    return _distinct(draw, limit, len(labels), weights)


def _nearest(
    weights: np.ndarray, limit: int, rng: np.random.Generator, logits: np.ndarray | None, labels: np.ndarray
) -> np.ndarray:
    """Hard comparisons: each sample with those whose teacher output is nearest (Euclidean), k − 1 neighbours at a time."""
    if logits is None:
        raise UserError(
            "compare.sets: strategy 'nearest' needs the teacher's logits, but none were bought. Valid: in-batch, random, balanced"
        )
    k = len(weights)
    n, values = len(logits), logits.reshape(len(logits), -1).astype(np.float32)
    groups = max(1, min(NEIGHBOURS, limit // n, (n - 1) // (k - 1)))
    wanted, squares, rows = groups * (k - 1), (values**2).sum(1), []
    for first in range(0, n, 1024):  # a block of the distance matrix at a time
        block = values[first : first + 1024]
        distance = squares[None] - 2 * block @ values.T
        distance[np.arange(len(block)), first + np.arange(len(block))] = np.inf
        near = np.argsort(distance, axis=1, kind="stable")[:, :wanted]
        own = np.repeat(first + np.arange(len(block)), groups)[:, None]
        rows.append(np.concatenate([own, near.reshape(-1, k - 1)], axis=1))
    return np.concatenate(rows)[:limit]


def _sides(weights: np.ndarray) -> list[np.ndarray]:
    """The places in a group that have the same weight, and whose members are exchangeable."""
    return [np.flatnonzero(weights == weight) for weight in np.unique(weights)]


def _count(n: int, weights: np.ndarray) -> int:
    """How many groups of n samples there are: C(n, P) · C(n − P, N) for P and N members of two weights."""
    total, left = 1, n
    for side in _sides(weights):
        total *= comb(left, len(side))
        left -= len(side)
    return total


def _every(n: int, weights: np.ndarray) -> np.ndarray:
    """All those groups (many, k)."""
    groups, left = np.empty((1, len(weights)), dtype=np.int64), np.arange(n)[None]
    for side in _sides(weights):
        chosen = np.array(list(combinations(range(left.shape[1]), len(side))))  # (c, of this side)
        rest = np.array([np.setdiff1d(range(left.shape[1]), one) for one in chosen]).reshape(len(chosen), -1)
        groups, taken = np.repeat(groups, len(chosen), axis=0), left[:, chosen].reshape(-1, len(side))
        groups[:, side], left = taken, left[:, rest].reshape(len(groups), -1)
    return groups


def _distinct(draw: Callable[[int], np.ndarray], limit: int, n: int, weights: np.ndarray) -> np.ndarray:
    """Up to `limit` different groups of different members from `draw(count) -> (count, k)`."""
    k = len(weights)
    kept = np.empty((0, k), dtype=np.int64)
    sides, target = _sides(weights), min(limit, _count(n, weights))
    for _ in range(20):  # a few rounds fill it; where nearly all groups that exist are wanted, fewer are enough
        rows = draw(2 * (target - len(kept)) + 16)
        ordered = np.sort(rows, axis=1)
        rows = rows[(ordered[:, 1:] != ordered[:, :-1]).all(axis=1)]
        kept = np.concatenate([kept, rows])
        same = np.concatenate([np.sort(kept[:, side], axis=1) for side in sides], axis=1)
        _, first = np.unique(same, axis=0, return_index=True)
        kept = kept[np.sort(first)][:target]
        if len(kept) == target:
            break
    return kept


STRATEGIES = {"random": _random, "balanced": _balanced, "nearest": _nearest}


def draw(
    strategy: str,
    k: int,
    limit: int,
    seed: int,
    logits: np.ndarray | None,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A comparison set over n bought samples, from their labels (n,) and teacher logits (n, C), where there are any.

    `weights` (k,) are one group's; without them `group_weights(k)`. Returns (members, weights). Raises UserError where k exceeds
    n, the strategy is unknown, or it needs logits and there are none.
    """
    if strategy not in STRATEGIES:
        raise unknown("compare.sets.*.strategy", strategy, [*STRATEGIES, "in-batch"])
    if k > len(labels):
        raise UserError(f"compare.sets: groups of k = {k} need as many samples, but only {len(labels)} are bought")
    weights = group_weights(k) if weights is None else weights
    members = STRATEGIES[strategy](weights, limit, np.random.default_rng(seed), logits, labels)
    return members.astype(np.int32), np.broadcast_to(weights, members.shape).astype(np.float32)


def statistics(
    members: np.ndarray, weights: np.ndarray, logits: np.ndarray | None, labels: np.ndarray
) -> dict[str, float]:
    """What a person wants to know of a set: how many, how evenly samples are used, how often the first member meets its own class
    on the other side, and how far apart the teacher holds them (left out where there are no logits)."""
    uses = np.bincount(members.ravel(), minlength=len(labels))
    opposite = np.flatnonzero(np.sign(weights[0]) != np.sign(weights[0, 0]))[-1]
    first, other = labels[members[:, 0]], labels[members[:, opposite]]
    known = (first >= 0) & (other >= 0)
    found = {
        "comparisons": len(members),
        "samples_used": int((uses > 0).sum()),
        "uses_min": int(uses.min()),
        "uses_mean": round(float(uses.mean()), 3),
        "uses_max": int(uses.max()),
    }
    if known.any():  # of what has labels
        found["same_class_share"] = round(float((first == other)[known].mean()), 4)
    if logits is not None:
        some = slice(0, 10_000)
        delta = np.einsum(
            "mk,mkc->mc", weights[some], logits.reshape(len(logits), -1)[members[some]].astype(np.float32)
        )
        found["teacher_difference_rms"] = round(float(np.sqrt((delta**2).mean())), 4)
    return found

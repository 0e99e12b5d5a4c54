"""The order of purchase: one nested sequence per (pool, strategy, seed), so a smaller budget is a prefix of a larger one."""

import hashlib

import numpy as np

from stages.errors import unknown


def _shuffled(ids: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Sorted by a seeded hash of the content: a sample keeps its place among the others when the pool grows."""
    keys = [hashlib.sha256(f"{seed}/".encode() + one).digest() for one in ids]
    return np.array(sorted(range(len(ids)), key=keys.__getitem__), dtype=np.int64)


def _balanced(ids: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """The shuffled order, dealt out so that every prefix holds the classes as evenly as they last."""
    shuffled = _shuffled(ids, labels, seed)
    rank = np.empty(len(shuffled), dtype=np.int64)
    for label in np.unique(labels):
        of_class = labels[shuffled] == label
        rank[of_class] = np.arange(of_class.sum())
    return shuffled[np.argsort(rank, kind="stable")]


STRATEGIES = {"random": _shuffled, "balanced": _balanced}


def purchase_order(strategy: str, ids: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Positions in the pool in the order in which they are bought, (distinct contents,) int64.

    `ids` (N,) S64, `labels` (N,) int64. Of samples with the same content the first stands for all: it is bought once.
    """
    if strategy not in STRATEGIES:
        raise unknown("teach.strategy", strategy, STRATEGIES)
    _, first = np.unique(ids, return_index=True)
    first.sort()
    return first[STRATEGIES[strategy](ids[first], labels[first], seed)]

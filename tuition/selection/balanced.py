"""`balanced`: the shuffled order, dealt out so that every prefix holds the classes as evenly as they last.

Samples of one class keep their order among each other when the pool grows. It reads the labels, which `kd` alone would not
need; samples without one count as a class of their own.
"""

import numpy as np

from tuition.errors import UserError
from tuition.selection.pool import Pool


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    if len(pool) and not (pool.labels >= 0).any():
        raise UserError(
            "teach.strategy: 'balanced' deals out classes by their labels, but no sample of the pool has one. Valid: random, kcenter, "
            "kmeans, probcover, typiclust, uncertain, file"
        )
    rank = np.empty(len(pool), dtype=np.int64)
    for label in np.unique(pool.labels):
        of_class = pool.labels == label
        rank[of_class] = np.arange(of_class.sum())
    return np.argsort(rank, kind="stable")

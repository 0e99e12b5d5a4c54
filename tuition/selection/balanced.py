"""`balanced`: the shuffled order, dealt out so that every prefix holds the classes as evenly as they last.

Samples of one class keep their order among each other when the pool grows. It reads the labels, which `kd` alone would not need.
"""

import numpy as np

from tuition.selection.pool import Pool


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    rank = np.empty(len(pool), dtype=np.int64)
    for label in np.unique(pool.labels):
        of_class = pool.labels == label
        rank[of_class] = np.arange(of_class.sum())
    return np.argsort(rank, kind="stable")

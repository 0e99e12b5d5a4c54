"""`typiclust`: the most typical sample of each cluster that has none bought, the largest first (Hacohen, Dekel & Weinshall 2022).

A sample is typical where its 20 nearest neighbours in the cluster are near on average. In the paper, a round has as many clusters as
samples will have been bought after it, at most 500. Here the number of clusters doubles whatever the budget (`clusters`), so that a
smaller budget is a prefix of a larger one.
"""

import numpy as np

from tuition.selection.clusters import ordered
from tuition.selection.pool import Pool

NEIGHBOURS = 20
CHUNK = 1024  # rows against all of a cluster at a time
FINE = 64  # parts of a unit to which distances are rounded, so that their sums are exact


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    return ordered(pool, limit, guide, by_typicality)


def by_typicality(rows: np.ndarray) -> np.ndarray:
    """Rows (m, d) of a cluster, the most typical first; equals by place."""
    lengths = np.einsum("md,md->m", rows, rows).astype(np.int32)
    count = min(NEIGHBOURS + 1, len(rows))  # itself among them
    spread = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        away = lengths[part, None] + lengths - 2 * (rows[part] @ rows.T).astype(np.int32)
        near = np.partition(away, count - 1, axis=1)[:, :count]
        spread[part] = np.rint(np.sqrt(near.astype(np.float64)) * FINE).astype(np.int64).sum(axis=1)
    return np.argsort(spread, kind="stable")

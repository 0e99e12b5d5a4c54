"""`kmeans`: the sample nearest the centre of each cluster, over ever more clusters (`clusters`).

As representative sampling by k-means (Xu et al. 2003), but not one clustering a budget: the number of clusters grows by doubling and
what was chosen stays, so that a smaller budget is a prefix of a larger one.
"""

import numpy as np

from tuition.selection.clusters import ordered
from tuition.selection.pool import Pool


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    return ordered(pool, limit, guide, by_centre)


def by_centre(rows: np.ndarray) -> np.ndarray:
    """Rows (m, d) of a cluster, the nearest to their mean first; equals by place."""
    away = ((rows.astype(np.int64) * len(rows) - rows.astype(np.int64).sum(axis=0)) // max(len(rows), 1)) ** 2
    return np.argsort(away.sum(axis=1), kind="stable")

"""`documents`, of retrieval: all documents first, shuffled, then the queries: what a student with the teacher's own documents needs."""

import numpy as np

from tuition.selection.pool import Pool


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    assert pool.documents is not None
    first = pool.rows < pool.documents
    return np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])

"""`pairs`, of retrieval: training queries as the pool comes, shuffled, each with the documents that answer it right behind it.

So of n calls about half are for queries and half for their documents, and each can be learnt from. What belongs to no pair comes last.
"""

import numpy as np

from tuition.selection.pool import Pool


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    assert pool.relevance is not None
    documents_of: dict[int, list[int]] = {}
    for query, document in pool.relevance.tolist():
        documents_of.setdefault(query, []).append(document)
    chosen = dict.fromkeys(place for query in sorted(documents_of) for place in (query, *sorted(documents_of[query])))
    return np.array([*chosen, *(place for place in range(len(pool)) if place not in chosen)], dtype=np.int64)

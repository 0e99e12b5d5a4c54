"""How good a ranking of documents is: per query, from the rows of the documents that come first. NumPy alone.

Figures are those of trec_eval: gains are linear, ndcg = Σ g_i / log2(i + 1) over the first k, over the best possible sum.
"""

import numpy as np

from tuition.targets.embeddings import unit

DEPTH = 100  # documents that are looked at for a query
FIGURES = ("ndcg10", "mrr10", "recall100")
QUERIES = 256  # at a time


def rank(queries: np.ndarray, documents: np.ndarray, depth: int = DEPTH) -> tuple[np.ndarray, np.ndarray]:
    """The `depth` documents (or all, where there are fewer) with the highest cosines -> (rows (Q, k) int64, cosines (Q, k) float32), best
    first; of equal ones the earlier row. queries (Q, d), documents (D, d)."""
    index, depth = unit(documents), min(depth, len(documents))
    rows = np.empty((len(queries), depth), dtype=np.int64)
    cosines = np.empty((len(queries), depth), dtype=np.float32)
    for start in range(0, len(queries), QUERIES):
        scores = unit(queries[start : start + QUERIES]) @ index.T
        last = np.partition(scores, -depth, axis=1)[:, -depth]  # the lowest score that is among the first
        for place, (row, least) in enumerate(zip(scores, last, strict=True), start):
            some = np.flatnonzero(row >= least)
            rows[place] = some[np.argsort(-row[some], kind="stable")[:depth]]
            cosines[place] = row[rows[place]]
    return rows, cosines


def figures(ranked: np.ndarray, relevance: np.ndarray) -> dict[str, np.ndarray]:
    """Of documents (Q, k), best first, for each query its FIGURES (Q,) float64; `relevance` (m, 3): query, document, gain of 1 and more.

    ndcg10 and mrr10 look at the first ten, recall100 at the first hundred. A query without a relevant document has 0.
    """
    gains, best, number = _gains(ranked, relevance)
    discount = 1 / np.log2(np.arange(2, 12))
    ten = gains[:, :10]
    dcg = (ten * discount[: ten.shape[1]]).sum(axis=1)
    ideal = (best * discount).sum(axis=1)
    hits = ten > 0
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    found = (gains[:, :DEPTH] > 0).sum(axis=1)
    return {
        "ndcg10": dcg / np.where(ideal > 0, ideal, 1),
        "mrr10": first,
        "recall100": found / np.maximum(number, 1),
    }


def _gains(ranked: np.ndarray, relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each ranked document gains (Q, k), the ten largest gains there are (Q, 10), and the number of relevant documents (Q,)."""
    count = len(ranked)
    gains, best = np.zeros(ranked.shape), np.zeros((count, 10))
    number = np.bincount(relevance[:, 0], minlength=count)[:count]
    order = np.lexsort((-relevance[:, 2], relevance[:, 0]))
    starts = np.searchsorted(relevance[order, 0], np.arange(count + 1))
    for query in range(count):
        some = relevance[order[starts[query] : starts[query + 1]]]
        known = dict(zip(some[:, 1].tolist(), some[:, 2].tolist(), strict=True))
        gains[query] = [known.get(document, 0) for document in ranked[query].tolist()]
        best[query, : min(10, len(some))] = some[:10, 2]
    return gains, best, number

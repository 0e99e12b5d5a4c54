"""Figures of a ranking by hand, and against a second computation, query by query in plain Python."""

from math import log2

import numpy as np
import pytest

from tuition.targets.ranking import FIGURES, figures, rank

RNG = np.random.default_rng(0)


def by_the_book(ranked, relevance):
    """trec_eval's definitions, one query at a time."""
    found = {name: [] for name in FIGURES}
    for query, documents in enumerate(ranked.tolist()):
        gains = {int(d): int(g) for q, d, g in relevance.tolist() if q == query}
        dcg = sum(gains.get(one, 0) / log2(place + 2) for place, one in enumerate(documents[:10]))
        best = sum(gain / log2(place + 2) for place, gain in enumerate(sorted(gains.values(), reverse=True)[:10]))
        found["ndcg10"].append(dcg / best if best else 0.0)
        found["mrr10"].append(next((1 / (place + 1) for place, one in enumerate(documents[:10]) if one in gains), 0.0))
        hits = sum(one in gains for one in documents[:100])
        found["recall100"].append(hits / len(gains) if gains else 0.0)
    return found


def test_one_query_by_hand():
    found = figures(np.array([[4, 7, 1]]), np.array([[0, 7, 1], [0, 9, 1]]))
    assert found["mrr10"][0] == 0.5
    assert found["recall100"][0] == 0.5
    assert found["ndcg10"][0] == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


def test_many_queries_with_graded_judgements_are_as_the_book_has_them():
    ranked = np.array([RNG.permutation(300)[:100] for _ in range(40)])
    relevance = np.array(
        [(query, document, RNG.integers(1, 4)) for query in range(39) for document in RNG.permutation(300)[: 1 + query]]
    )
    found, expected = figures(ranked, relevance), by_the_book(ranked, relevance)
    for name in FIGURES:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12)
    assert found["ndcg10"][39] == 0  # nothing is relevant to it


def test_documents_are_ranked_by_their_cosine_and_equal_ones_by_their_place():
    queries, documents = RNG.normal(size=(5, 8)), RNG.normal(size=(50, 8)) * RNG.uniform(0.1, 9, size=(50, 1))
    documents[30] = 2 * documents[10]
    rows, cosines = rank(queries, documents, 20)
    exact = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        documents / np.linalg.norm(documents, axis=1, keepdims=True)
    ).T
    np.testing.assert_allclose(cosines, np.sort(exact, axis=1)[:, ::-1][:, :20], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), cosines, atol=1e-6)
    both = [row.tolist() for row in rank(queries, documents, 50)[0]]
    assert all(row.index(10) < row.index(30) for row in both)
    assert rank(queries, documents[:3], 20)[0].shape == (5, 3)

"""Batches of queries and documents: whose documents they are, what is relevant, and that they are functions of seed and step."""

import numpy as np
import pytest
import torch

from tuition.inputs.texts.batch import PlacedTexts
from tuition.training.pairs import PairLoader, RetrievalSet

DOCUMENTS, QUERIES, EXTRA = 20, 12, 4
N = DOCUMENTS + QUERIES + EXTRA
RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(N, 6)).astype(np.float32)
# query q is answered by document q, and every third one by document 19, too
RELEVANCE = np.array([(DOCUMENTS + q, q) for q in range(QUERIES)] + [(DOCUMENTS + q, 19) for q in range(0, QUERIES, 3)])
KNOWN = set(map(tuple, RELEVANCE.tolist()))
SET = RetrievalSet(
    texts=np.array([f"text {place}" for place in range(N)], dtype=object),
    teacher=TEACHER,
    relevance=RELEVANCE,
    documents=np.arange(DOCUMENTS),
    extra=np.arange(DOCUMENTS + QUERIES, N),
)


def loader(**more):
    placed = PlacedTexts(
        torch.arange(1, N + 1, dtype=torch.int32), torch.arange(N + 1)
    )  # each text is one token, its row + 1
    return PairLoader(SET, placed, **{"batch_size": 5, "seed": 3, "negatives": 0, "extra": False, "own": True, **more})


def rows_of(tokens):
    return (tokens[:, 0] - 1).tolist()


@pytest.mark.parametrize("negatives", [0, 3])
def test_every_query_has_a_relevant_document_and_what_is_relevant_is_known(negatives):
    batches = loader(negatives=negatives)
    seen = set()
    for step in range(6):
        batch = batches.batch(step)
        queries, documents = rows_of(batch.queries), rows_of(batch.documents)
        assert len(set(documents)) == len(documents)
        expected = [[(query, document) in KNOWN for document in documents] for query in queries]
        assert batch.relevant.tolist() == expected
        assert batch.relevant.any(dim=1).all()
        assert len(documents) > 5 if negatives else len(documents) <= 5
        unit = TEACHER / np.linalg.norm(TEACHER, axis=1, keepdims=True)
        np.testing.assert_allclose(batch.scores, unit[queries] @ unit[documents].T, atol=1e-6)
        seen |= set(queries)
    assert seen == set(range(DOCUMENTS, DOCUMENTS + QUERIES))


def test_negatives_are_the_teachers_nearest_that_are_not_relevant():
    near = loader(negatives=2).near.tolist()
    unit = TEACHER / np.linalg.norm(TEACHER, axis=1, keepdims=True)
    for place, found in enumerate(near):
        query = DOCUMENTS + place
        order = np.argsort(-(unit[query] @ unit[:DOCUMENTS].T)).tolist()
        expected = [document for document in order if (query, document) not in KNOWN]
        assert found == expected[: len(found)]
        assert len(found) == DOCUMENTS - 2


def test_given_queries_come_beside_the_labelled_and_nothing_is_relevant_to_them():
    batch = loader(extra=True).batch(0)
    queries = rows_of(batch.queries)
    assert set(queries[5:]) == set(range(DOCUMENTS + QUERIES, N))
    assert not batch.relevant[5:].any()
    assert batch.teacher["query"].shape == (9, 6)
    assert loader().batch(0).queries.shape[0] == 5


def test_a_batch_is_a_function_of_seed_and_step():
    first, second = loader(negatives=2), loader(negatives=2)
    for step in (0, 1, 2):
        first.batch(step)
    for step in (7, 2):
        one, other = first.batch(step), second.batch(step)
        assert rows_of(one.queries) == rows_of(other.queries)
        assert rows_of(one.documents) == rows_of(other.documents)
    assert rows_of(loader(seed=4).batch(0).queries) != rows_of(loader().batch(0).queries)


def test_documents_of_the_teacher_are_not_shown():
    batch = loader(own=False).batch(0)
    assert batch.documents is None
    assert batch.teacher["document"].shape[0] == batch.relevant.shape[1]

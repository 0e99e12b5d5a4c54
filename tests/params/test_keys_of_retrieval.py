"""What a study of retrieval may not ask for, and what only one may; and in which order its texts are bought."""

import json

import numpy as np
import pytest

from tuition import params as parameters
from tuition.errors import UserError
from tuition.preflight import check_methods
from tuition.preflight.documents import check_budget
from tuition.selection.order import purchase_order

BASE = {
    "study": {"budgets": [50], "methods": ["embed-match"], "seeds": [0]},
    "data": {"source": "beir:words"},
    "teacher": {"kind": "python", "function": "mine:embed", "answers": "embedding"},
    "student": {"arch": "ngram"},
    "methods": {"embed-match": {}},
}


def load(path, changes, base=BASE):
    sections = json.loads(json.dumps(base))
    for key, value in changes.items():
        *places, last = key.split(".")
        place = sections
        for one in places:
            place = place.setdefault(one, {})
        place[last] = value
    (path / "params.yaml").write_text(json.dumps(sections))
    return parameters.load(path / "params.yaml")


def test_the_source_says_the_task(tmp_path):
    found = load(tmp_path, {})
    assert (found.data.task, found.data.inputs) == ("retrieval", "texts")
    assert load(tmp_path, {"data.source": "wordnet-words"}).data.task == "retrieval"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data.classes": ["a", "b"]},
            r"data.classes: found \['a', 'b'\], but this is a study of retrieval, which has no classes",
        ),
        ({"data.evaluation": "csv:a.csv"}, r"data.evaluation: found 'csv:a.csv'"),
        ({"train.rest": "labelled"}, r"train.rest: found 'labelled'"),
        ({"train.devices": 2}, r"train.devices: found 2"),
        ({"teacher.samples": 3}, r"teacher.samples: found 3"),
        (
            {"teach.strategy": "balanced"},
            r"teach.strategy: found 'balanced', which is about classes.*valid: pairs, documents",
        ),
        ({"teach.views": 2}, r"teach.views: found 2, but the samples are texts"),
        ({"student.arch": "resnet8"}, r"student.arch: 'resnet8' is not known"),
        ({"teacher": {"kind": "checkpoint"}}, r"teacher.kind: found 'checkpoint'"),
        ({"teacher": {"kind": "sentence"}}, r"teacher.folder: missing"),
        ({"compare.sets": {"embed-match": {}}}, r"compare.sets: found"),
    ],
)
def test_keys_of_classes_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teach.strategy": "pairs"}, r"teach.strategy: found 'pairs', which is of retrieval"),
        ({"student.embedding": 8}, r"student.embedding: found 8, which is of retrieval"),
        ({"train.negatives": 2}, r"train.negatives: found 2, which is of retrieval"),
    ],
)
def test_keys_of_retrieval_are_refused_elsewhere(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, {"data": {"source": "wordnet"}, **changes})


def test_methods_of_another_task_are_refused_with_those_that_would_work(tmp_path):
    other = {"study.methods": ["kd"], "methods": {"kd": {}}}
    with pytest.raises(UserError, match=r"'kd' learns classification.*is of retrieval.*embed-match"):
        check_methods(load(tmp_path, other), ("embedding",), inputs="texts")
    with pytest.raises(UserError, match=r"'embed-match' learns retrieval.*is of classification.*ckd-mse"):
        check_methods(load(tmp_path, {"data": {"source": "wordnet"}}), ("embedding",), inputs="texts")
    with pytest.raises(UserError, match=r"needs a teacher's embeddings, but it gives only logits"):
        check_methods(load(tmp_path, {}), ("logits",), inputs="texts")
    check_methods(load(tmp_path, {}), ("embedding",), inputs="texts")


def test_the_teachers_documents_must_all_be_bought_first(tmp_path):
    frozen = {"study.methods": ["embed-distill"], "methods": {"embed-distill": {}}}
    with pytest.raises(UserError, match=r"teach.strategy: found 'random'.*set documents"):
        check_methods(load(tmp_path, frozen), ("embedding",), inputs="texts")
    with pytest.raises(UserError, match=r"student.embedding: found 8"):
        check_methods(load(tmp_path, {**frozen, "student.embedding": 8}), ("embedding",), inputs="texts")
    whole = load(tmp_path, {**frozen, "teach.strategy": "documents"})
    check_methods(whole, ("embedding",), inputs="texts")
    check_budget(whole, 49, 50)
    with pytest.raises(UserError, match=r"'embed-distill' takes all 50 documents.*valid: more than 50"):
        check_budget(whole, 50, 50)
    own = load(tmp_path, {**frozen, "methods": {"embed-distill": {"documents": "own"}}})
    check_methods(own, ("embedding",), inputs="texts")
    check_budget(own, 50, 10)


IDS = np.array([f"{place:064x}".encode() for place in range(12)], dtype="S64")
IDS[9] = IDS[2]  # a query with the text of a document
RELEVANCE = np.array([[8, 0], [9, 1], [9, 3], [10, 0]])  # of documents 0 to 7; 11 has none


def order(strategy, seed=0):
    known = {"relevance": RELEVANCE, "documents": 8}
    return purchase_order(strategy, IDS, np.full(12, -1), seed, **known).tolist()


def test_pairs_are_bought_together():
    found = order("pairs")
    assert sorted(found) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    bought, whole = set(), []
    for place in found[:6]:  # 8, 10, 2 (which 9 is), and their documents 0, 1, 3
        bought.add(place)
        whole.append(place)
    assert bought == {0, 1, 2, 3, 8, 10}
    for query, documents in ((8, [0]), (2, [1, 3]), (10, [0])):
        assert all(
            document in found[: found.index(query)] + found[found.index(query) + 1 :][: len(documents)]
            for document in documents
        )
    assert any(order("pairs", seed) != found for seed in range(1, 4))


def test_documents_are_bought_before_queries():
    found = order("documents")
    assert sorted(found[:8]) == list(range(8))
    assert sorted(found[8:]) == [8, 10, 11]
    assert found[:8] != list(range(8))

"""Collections of documents and queries: what is read, what is one document, and what is refused before anything is paid."""

import json

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.files import read_array
from tuition.inputs import texts
from tuition.params import Data
from tuition.sources.collection import arrange, load_collection, summary
from tuition.sources.splits import write_splits
from tuition.workspace import Splits

DOCUMENTS = [
    ("d1", "Dog", "a young dog"),
    ("d2", "", "a large bird of prey"),
    ("d3", "", "a small tree"),
    ("d4", "", "a large bird of prey"),  # the text of d2
    ("d5", "Gold", ""),
]
QUERIES = [*((f"q{n}", f"query number {n}") for n in range(8)), ("extra", "of which nobody says what answers it")]
TRAIN = [("q0", "d1", 1), ("q1", "d2", 1), ("q1", "d4", 2), ("q2", "d3", 1), ("q3", "d5", 1)]
JUDGED = {
    "train": TRAIN,
    "dev": [("q4", "d1", 1), ("q5", "d2", 0), ("q5", "d3", 2)],
    "test": [("q6", "d1", 1), ("q7", "d4", 1)],
}


@pytest.fixture
def make(tmp_path):
    """Writes a collection and gives the section `data` of it."""

    def write(documents=DOCUMENTS, queries=QUERIES, judged=JUDGED, head="query-id\tcorpus-id\tscore\n", **more):
        (tmp_path / "qrels").mkdir(exist_ok=True)
        for file in (tmp_path / "qrels").iterdir():
            file.unlink()
        lines = [
            json.dumps({"_id": name, "title": title, "text": text, "metadata": {}}) for name, title, text in documents
        ]
        (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
        (tmp_path / "queries.jsonl").write_text(
            "\n".join(json.dumps({"_id": name, "text": text}) for name, text in queries)
        )
        for split, rows in judged.items():
            text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
            (tmp_path / f"qrels/{split}.tsv").write_text(head + text)
        return Data(source=f"beir:{tmp_path}", **more)

    return write


def relevant(queries, documents):
    return {(queries.records.names[q], documents.names[d], int(grade)) for q, d, grade in queries.relevance.tolist()}


@pytest.mark.parametrize("head", ["query-id\tcorpus-id\tscore\n", ""])
def test_documents_queries_and_judgements(make, head):
    found = arrange(load_collection(make(head=head)), Data(source="beir:"))
    assert found.documents.names == ["d1", "d2", "d3", "d5"]  # d4 is d2
    assert found.documents.texts.tolist() == ["Dog\na young dog", "a large bird of prey", "a small tree", "Gold"]
    assert relevant(found.splits["train"], found.documents) == {
        ("q0", "d1", 1),
        ("q1", "d2", 2),
        ("q2", "d3", 1),
        ("q3", "d5", 1),
    }
    assert relevant(found.splits["val"], found.documents) == {("q4", "d1", 1), ("q5", "d3", 2)}
    assert relevant(found.splits["test"], found.documents) == {("q6", "d1", 1), ("q7", "d2", 1)}
    assert found.extra.names == ["extra"]
    assert found.duplicates["within_documents"] == 1


def test_what_is_written_is_the_pool_and_two_splits_of_queries(make, tmp_path):
    meta = write_splits(make(), tmp_path / "data")
    here = Splits(tmp_path / "data")
    pool, train = texts.read(here.split("train").path), here.split("train")
    assert (meta["task"], meta["documents"], meta["queries"]) == (
        "retrieval",
        4,
        {"train": 4, "extra": 1, "val": 2, "test": 2},
    )
    assert pool.tolist()[4:] == [text for _, text in QUERIES[:4]] + [QUERIES[8][1]]
    assert read_array(train.ids).tolist() == [texts.content_id(text).encode() for text in pool]
    assert [name.decode() for name in read_array(train.names)][:4] == ["d1", "d2", "d3", "d5"]
    for query, document, _ in read_array(train.relevance).tolist():
        assert document < 4 <= query < 8
    assert len(read_array(here.split("val").labels)) == 2
    assert (
        "4 documents, 4 queries to train with a relevant document and 1 without, 2 to validate, 2 to test"
        in summary(meta)
    )


def test_splits_that_are_not_there_are_drawn_from_train(make):
    many = [(f"q{n}", "d1", 1) for n in range(8)]
    data = make(judged={"train": many}, val=0.25, test=0.25)
    found = arrange(load_collection(data), data)
    sizes = {name: len(one.records) for name, one in found.splits.items()}
    assert sizes == {"train": 4, "val": 2, "test": 2}
    assert len(set().union(*(one.records.names for one in found.splits.values()))) == 8
    assert all(set(one.relevance[:, 0]) == set(range(len(one.records))) for one in found.splits.values())


def test_a_training_query_that_is_tested_too_is_left_out(make):
    queries = [("q0", QUERIES[6][1]), *QUERIES[1:]]
    found = arrange(load_collection(make(queries=queries)), Data(source="beir:"))
    assert found.splits["train"].records.names == ["q1", "q2", "q3"]
    assert found.duplicates["train_in_test"] == 1


def test_the_embedded_dictionary():
    found = arrange(load_collection(Data(source="wordnet-words")), Data(source="wordnet-words"))
    assert (len(found.documents), len(found.pool)) == (14_799, 25_599)
    assert {name: len(one.records) for name, one in found.splits.items()} == {
        "train": 10_800,
        "val": 1_200,
        "test": 3_000,
    }
    names = dict(zip(found.splits["test"].records.texts, range(3000), strict=True))
    relevance = found.splits["test"].relevance
    row = names["impairment of the sense of sight"]
    documents = relevance[relevance[:, 0] == row, 1]
    assert found.documents.texts[documents].tolist() == [
        "visual impairment, visual defect, vision defect, visual disorder"
    ]
    assert np.array_equal(np.unique(relevance[:, 0]), np.arange(3000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": [*DOCUMENTS, ("d1", "", "again")]}, r"corpus.jsonl: _id 'd1' stands in rows 1 and 6"),
        ({"queries": [*QUERIES, ("q3", "again")]}, r"queries.jsonl: _id 'q3' stands in rows 4 and 10"),
        (
            {"judged": {**JUDGED, "test": [("q6", "d9", 1)]}},
            r"test.tsv: names 1 of which corpus.jsonl has no document.*'d9' \(line 2\)",
        ),
        (
            {"judged": {**JUDGED, "train": [*TRAIN, ("q99", "d1", 1)]}},
            r"train.tsv: names 1 of which queries.jsonl has no query.*'q99'",
        ),
        (
            {"judged": {**JUDGED, "dev": [("q4", "d1", 0)]}},
            r"dev.tsv: 1 queries have no relevant document, such as 'q4'",
        ),
        (
            {"judged": {**JUDGED, "dev": [("q4", "d1")]}},
            r"dev.tsv: line 2: found 'q4\\td1', expected query, document and a whole number",
        ),
        ({"judged": {**JUDGED, "val": JUDGED["dev"]}}, r"qrels/: found dev.tsv, test.tsv, train.tsv, val.tsv; valid"),
        ({"judged": {"test": JUDGED["test"]}}, r"found judgements for test, but none for train"),
        ({"judged": {}}, r"qrels/: found none; valid: train.tsv"),
        (
            {"documents": [*DOCUMENTS, ("d6", " ", "")]},
            r"1 of 15 rows hold no text \(corpus.jsonl: row 6 \(d6\): holds",
        ),
        ({"documents": [("", "", "nameless"), *DOCUMENTS]}, r"corpus.jsonl: row 1: _id: found ''"),
    ],
)
def test_what_is_wrong_is_told_with_its_file_and_line(make, change, message):
    data = make(**change)
    with pytest.raises(UserError, match=message):
        arrange(load_collection(data), data)


def test_a_document_without_a_text_may_be_left_out_but_not_judged(make):
    bare = [*DOCUMENTS, ("d6", "", " ")]
    found = load_collection(make(documents=bare, max_unreadable=0.1))
    assert found.rejected == [("corpus.jsonl: row 6 (d6)", "holds nothing but white space")] or found.rejected[0][
        0
    ] == ("corpus.jsonl: row 6 (d6)")
    with pytest.raises(UserError, match=r"no document with a text: 'd6'"):
        load_collection(make(documents=bare, judged={**JUDGED, "test": [("q6", "d6", 1)]}, max_unreadable=0.1))


def test_a_folder_that_is_none_is_told():
    with pytest.raises(UserError, match=r"beir:nowhere: no such folder; valid: a folder with corpus.jsonl"):
        load_collection(Data(source="beir:nowhere"))
    with pytest.raises(UserError, match=r"Valid: beir:<folder>, wordnet-words"):
        load_collection(Data(source="beir"))

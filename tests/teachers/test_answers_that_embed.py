"""Answers that are embeddings: of a function, in a table, and what is told of them before the bulk is bought."""

import json

import numpy as np
import pandas as pd
import pytest

from tuition.errors import UserError
from tuition.params.teacher import teacher_settings
from tuition.purchase.answers import split
from tuition.purchase.plausible.checks import run
from tuition.purchase.plausible.evidence import evidence_of
from tuition.targets.answers import Classes, NoAnswer
from tuition.targets.embeddings import rows, told
from tuition.teachers.answers import as_reply
from tuition.teachers.table.teacher import load_table

RNG = np.random.default_rng(0)
FACTS = {"inputs": "texts", "classes": []}


def as_answers(given, shapes=None):
    reply = as_reply({"embedding": given}, "embedding", 3, Classes(()))
    return reply, [] if reply.malformed else split(
        reply.signals, 3, ("embedding",), 0, {} if shapes is None else shapes
    )


def test_a_function_may_give_lists_or_an_array():
    vectors = RNG.normal(size=(3, 4)).astype(np.float32)
    for given in (vectors, vectors.tolist(), list(vectors)):
        _, answers = as_answers(given)
        assert all(one.usable for one in answers)
        np.testing.assert_allclose([one.signals["embedding"] for one in answers], vectors, rtol=1e-3)
    assert answers[0].signals["embedding"].dtype == np.float16


def test_what_is_none_is_malformed_and_keeps_its_reason():
    for given, why in (
        ([[1, 2], [3, 4]], "list of 2; expected an embedding for each of 3 texts"),
        ([[1, 2], [3, 4], [5, 6, 7]], "of several widths"),
        ([1.0, 2.0, 3.0], "found shape (3,)"),
        ([[1.0]] * 3, "d of 2 or more"),
        ([["a", "b"]] * 3, "not numbers"),
    ):
        assert why in as_answers(given)[0].malformed
    _, answers = as_answers([[1, 2], [float("nan"), 1], [3, 4]])
    assert [one.usable for one in answers] == [True, False, True]
    assert answers[1].malformed == "NaN or infinity in embedding"
    _, answers = as_answers([[1, 2]] * 3, shapes={"embedding": (5,)})
    assert "found shape (2,) a sample, but the first answer had (5,)" in answers[0].malformed


def findings(vectors):
    samples = [f"{place:064x}" for place in range(len(vectors))]
    return {one.name: one for one in run(evidence_of(samples, {"embedding": vectors}, (), {}, "logits"), ())}


def test_zeros_and_one_answer_for_all_stop_a_purchase_and_lengths_are_told():
    vectors = RNG.normal(size=(8, 4))
    found = findings(vectors)
    assert found["directions"].state == "passed"
    assert "4 numbers each, not normalised: lengths" in found["directions"].found
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert told(unit) == (True, "4 numbers each, of length 1")
    vectors[2] = 0
    assert findings(vectors)["directions"].state == "failed"
    assert findings(np.ones((8, 4)))["variety"].state == "failed"
    assert "directions" not in {
        one.name for one in run(evidence_of(["a", "b"], {"logits": np.eye(2)}, ("x", "y"), {}, "logits"), ())
    }


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_table_of_embeddings(tmp_path, kind):
    table = pd.DataFrame({"text": ["a", "b"], "embedding": [[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]]})
    path = tmp_path / f"answers.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.assign(embedding=table["embedding"].map(json.dumps)).to_csv(path, index=False)
    settings = teacher_settings(kind="table", name="mine", path=str(path), answers="embedding")
    teacher = load_table(settings, FACTS)
    assert teacher.families == ("embedding",)
    with path.open("a") if kind != "parquet" else (tmp_path / "other.txt").open("w") as file:
        file.write('c,"[1, 2]"\n' if kind == "csv" else '{"text": "c", "embedding": [1, 2]}\n')
    if kind != "parquet":
        with pytest.raises(UserError, match=r"row 3 \(c\): found \[1, 2\]; expected 3 numbers"):
            load_table(settings, FACTS)


def test_a_table_without_embeddings_is_told(tmp_path):
    path = tmp_path / "answers.csv"
    settings = teacher_settings(kind="table", name="mine", path=str(path), answers="embedding")
    path.write_text("text,said\na,b\n")
    with pytest.raises(UserError, match=r"which column holds the embeddings.*found text, said"):
        load_table(settings, FACTS)
    path.write_text("text,embedding\na,7\n")
    with pytest.raises(UserError, match=r"found '7'; expected an embedding: a list of numbers"):
        load_table(settings, FACTS)
    with pytest.raises(NoAnswer, match="found str"):
        rows("abc", 3)

"""A study of retrieval through every stage, from a folder of documents and queries to a searched index and a registered student.

The collection is of real definitions and their nouns; the teacher is a function that keeps its own bill.
"""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from support import ROOT, bill, stage, templates
from support.registry import tuition

from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs import texts
from tuition.models import load_student
from tuition.params import Data
from tuition.params.teacher import teacher_settings
from tuition.registry.predict import student_of_folder
from tuition.registry.search import Search
from tuition.registry.verdict import paired_queries
from tuition.sources.collection import arrange, load_collection
from tuition.tables import read_rows
from tuition.targets.embeddings import unit
from tuition.targets.ranking import figures, rank
from tuition.teachers import load_teacher

TEACHER = r'''
import zlib
import numpy as np

def embed(texts, keys):
    """Parts of words, hashed: a stranger's idea of an embedding."""
    with open("bill.txt", "a") as bill:
        bill.writelines(f"{key}\n" for key in keys)
    found = np.full((len(texts), 32), 0.01, dtype=np.float32)
    for row, text in enumerate(texts):
        for start in range(len(text) - 3):
            code = zlib.crc32(text[start : start + 4].lower().encode())
            found[row, code % 32] += 1 if code & 64 else -1
    return found.tolist()
'''
PARAMS = """
study: {budgets: [320], methods: [embed-match, frozen], seeds: [0]}
data: {source: "beir:words"}
teacher: {kind: python, name: mine, function: "mine:embed", answers: embedding, batch_size: 40}
teach: {strategy: documents, evaluation: 60}
student: {arch: ngram, vocabulary: 2000}
train: {steps: 120, batch_size: 32, optimizer: adamw, lr: 0.01, weight_decay: 0.01, validate_every: 40, negatives: 2}
methods: {embed-match: {comparisons: true}, frozen: {method: embed-distill, queries: given}}
register: {name: words}
"""
CELLS = ("320-embed-match-0", "320-frozen-0")


def environment(folder):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return inherited | {"TUITION_LEDGER": str(folder / "ledger.db")}


def ran(*arguments):
    """What the command prints."""
    found = tuition(*arguments)
    assert found.exit_code == 0, found.output
    return found.stdout


def write_words(folder, first=0):
    """80 training queries from `first` on, 20 to validate, 60 to test and 10 without a judgement, with the documents of all."""
    found = arrange(load_collection(Data(source="wordnet-words")), Data(source="wordnet-words"))
    (folder / "words/qrels").mkdir(parents=True)
    queries, documents = [], {}
    for split, start, count in (("train", first, 80), ("val", 0, 20), ("test", 0, 60)):
        one = found.splits[split]
        rows = one.relevance[(one.relevance[:, 0] >= start) & (one.relevance[:, 0] < start + count)]
        queries += [(f"{split}{row}", one.records.texts[row]) for row in range(start, start + count)]
        documents |= {int(row): found.documents.texts[row] for row in rows[:, 1]}
        lines = [f"{split}{query}\td{document}\t{grade}" for query, document, grade in rows.tolist()]
        (folder / f"words/qrels/{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    queries += [(f"extra{row}", found.splits["train"].records.texts[row]) for row in range(9000, 9010)]
    for name in range(20):  # that answer nothing
        documents[14_000 + name] = found.documents.texts[14_000 + name]
    for file, rows in (
        ("corpus", [(f"d{row}", text) for row, text in sorted(documents.items())]),
        ("queries", queries),
    ):
        text = "\n".join(json.dumps({"_id": name, "text": one}) for name, one in rows)
        (folder / f"words/{file}.jsonl").write_text(text)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of the study after every stage, and what each said."""
    folder = tmp_path_factory.mktemp("retrieval")
    (folder / "mine.py").write_text(TEACHER)
    (folder / "params.yaml").write_text(PARAMS)
    write_words(folder)
    templates.mlflow_database(folder / "mlflow.db")
    said = {}
    for name, *more in (
        ("prepare",),
        ("pretrain",),
        ("teach", 320),
        ("estimate", 320),
        ("compare", 320),
        *((name, 320, method, 0) for method in ("embed-match", "frozen") for name in ("train", "evaluate")),
        ("report",),
        ("register",),
    ):
        done = stage(name, *more, cwd=folder, env=environment(folder))
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        said[name] = done.stdout
    return folder, said


def test_each_text_is_embedded_once_for_all_queries_and_studies(study, tmp_path):
    folder, said = study
    assert "80 queries to train with a relevant document and 10 without" in said["prepare"]
    assert len(set(bill(folder))) == len(bill(folder)) == 320
    owned = set(read_array(folder / "outputs/320/ids.npy").tolist())
    facts = read_json(folder / "data/meta.json")
    documents = read_array(folder / "data/train/ids.npy")[: facts["documents"]].tolist()
    assert owned >= set(documents)
    again = stage("teach", 320, cwd=folder, env=environment(folder))
    assert again.returncode == 0, again.stderr
    assert len(bill(folder)) == 320

    (tmp_path / "mine.py").write_text(TEACHER)  # another study: other training queries, nearly the same documents
    write_words(tmp_path, first=40)
    (tmp_path / "params.yaml").write_text(PARAMS)
    for name, *more in (("prepare",), ("teach", 320)):
        done = stage(name, *more, cwd=tmp_path, env=environment(folder))
        assert done.returncode == 0, done.stderr
    wanted = set(read_array(tmp_path / "outputs/320/ids.npy").tolist())
    new = len(wanted - owned)
    assert len(bill(tmp_path)) - new in (0, 1)  # the text that is asked for twice may be another one
    assert new < 150


def test_figures_are_those_of_the_ranking_and_stand_beside_the_teachers(study):
    folder, _ = study
    relevance = read_array(folder / "data/test/relevance.npy")
    for cell in CELLS:
        found = read_json(folder / f"results/{cell}/metrics.json")
        index = read_array(folder / f"students/{cell}/index.npy")
        queries = read_array(folder / f"results/{cell}/logits.npy")
        each = figures(rank(queries, index)[0], relevance)
        assert found["ndcg10"] == pytest.approx(each["ndcg10"].mean())
        rows = read_rows(folder / f"results/{cell}/per_class.csv")
        assert [float(row["mrr10"]) for row in rows] == pytest.approx(each["mrr10"].tolist(), abs=1e-6)
        assert rows[0]["label"] == "test0"
        assert 0 < found["teacher_recall100"] <= 1
        assert found["n_teacher"] == 40
        assert found["index_bytes"] == index.nbytes
        assert (found["against"], found["documents"]) == ("relevance", len(index))
    history = read_rows(folder / f"students/{CELLS[0]}/history.csv")
    for term in ("query", "document", "scores"):  # means of a third of the steps each
        assert float(history[-1][term]) < 0.3 * float(history[0][term])


def test_frozen_documents_are_the_teachers_and_the_students_own_are_its_own(study):
    folder, _ = study
    ids = read_array(folder / "data/train/ids.npy").tolist()
    place = {id: row for row, id in enumerate(read_array(folder / "outputs/320/ids.npy").tolist())}
    index = read_array(folder / f"students/{CELLS[1]}/index.npy")
    bought = read_array(folder / "outputs/320/embedding.npy")[[place[id] for id in ids[: len(index)]]]
    np.testing.assert_allclose(index, unit(bought), atol=1e-3)
    own = read_array(folder / f"students/{CELLS[0]}/index.npy")
    assert own.shape == index.shape
    assert np.abs(own.astype(np.float32) - index).max() > 0.1
    assert read_json(folder / f"students/{CELLS[1]}/meta.json")["documents"] == "teacher"


def test_a_student_that_is_trained_again_is_the_same_to_the_bit(study):
    folder, _ = study
    files = [folder / f"students/{CELLS[1]}" / name for name in ("weights.safetensors", "index.npy")]
    before = [file.read_bytes() for file in files]
    assert stage("train", 320, "frozen", 0, cwd=folder, env=environment(folder)).returncode == 0
    assert [file.read_bytes() for file in files] == before


def test_the_report_names_the_figure(study, monkeypatch):
    folder, said = study
    report, page = ((folder / f"report/report.{suffix}").read_text(encoding="utf-8") for suffix in ("md", "html"))
    for text in (report, page):
        assert "nDCG@10" in text
        assert "accuracy" not in text.replace("accuracy.svg", "").lower()
    (row,) = read_rows(folder / "report/paired.csv")
    apart = [
        np.array([float(one["ndcg10"]) for one in read_rows(folder / f"results/{cell}/per_class.csv")])
        for cell in CELLS
    ]
    assert float(row["difference"]) == pytest.approx(100 * (apart[1] - apart[0]).mean(), abs=1e-3)
    assert int(row["queries"]) == 60
    assert "words version 1 (320-" in said["register"]
    monkeypatch.chdir(folder)
    assert "nDCG@10 % on the test split" in ran("study")


def test_the_index_is_searched_from_the_command_line_and_from_python(study, monkeypatch):
    folder, _ = study
    monkeypatch.chdir(folder)
    query = texts.read(folder / "data/test")[0]
    (answer,) = json.loads(ran("search", f"students/{CELLS[0]}", query, "--json"))["answers"]
    assert len(answer["documents"]) == 10
    scores = [one["score"] for one in answer["documents"]]
    assert scores == sorted(scores, reverse=True)
    rows, _ = rank(read_array(f"results/{CELLS[0]}/logits.npy")[:1], read_array(f"students/{CELLS[0]}/index.npy"), 10)
    assert [one["text"] for one in answer["documents"]] == texts.read(folder / "data/train")[rows[0]].tolist()
    assert Search(folder / f"students/{CELLS[0]}")([query], 3)[0][0].name == answer["documents"][0]["name"]
    with pytest.raises(UserError, match="query: text 0: holds nothing but white space"):
        Search(folder / f"students/{CELLS[0]}")([" "])
    with pytest.raises(UserError, match=r"has no index.npy; valid: the folder of a student of retrieval"):
        Search(folder / "data")
    with pytest.raises(UserError, match=r"names no class; `tuition search"):
        student_of_folder(folder / f"students/{CELLS[0]}")


def test_the_registered_student_embeds_texts_without_this_project(study):
    folder, _ = study
    asked = ["a large bird of prey", "a small tree\nwith “white” flowers"]
    code = (
        "import json, sys; sys.modules['tuition'] = None; import mlflow\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "student = mlflow.pyfunc.load_model('models:/words@champion')\n"
        "print(json.dumps(student.predict(json.loads(sys.argv[1])).to_numpy().tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)], cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    answers = np.array(json.loads(done.stdout))
    cell = read_json(folder / "report/registered.json")["cell"]
    network, about = load_student(folder / f"students/{cell}")
    import torch

    own = network(torch.from_numpy(texts.numbers(np.array(asked, dtype=object), about))).detach().numpy()
    np.testing.assert_allclose(answers, unit(own), atol=1e-5)


def test_a_challenger_is_held_against_the_champion_query_by_query():
    champion, gain = np.random.default_rng(0).uniform(size=(2, 60)) * np.array([[1], [0.1]])
    assert paired_queries(champion + gain, champion, 0.05)["passed"]
    same = paired_queries(champion, champion, 0.05)
    assert not same["passed"]
    assert same["found"] == 1
    worse = paired_queries(champion - gain, champion, 0.05)
    assert not worse["passed"]
    assert "better on 0, worse on 60" in worse["says"]


def test_a_sentence_encoder_is_a_teacher_of_embeddings(encoder, glosses):
    settings = teacher_settings(kind="sentence", folder=str(encoder))
    teacher = load_teacher(settings, {"inputs": "texts", "classes": []})
    assert (teacher.families, teacher.idempotent, teacher.classes) == (("embedding",), True, None)
    found = teacher.answer_now(glosses[:5])["embedding"]
    assert found.shape == (5, 32)
    np.testing.assert_allclose(teacher.answer_now(glosses[2:3])["embedding"], found[2:3], atol=1e-5)
    with pytest.raises(UserError, match=r"teacher.folder: nowhere: no such folder"):
        load_teacher(teacher_settings(kind="sentence", folder="nowhere"), {"inputs": "texts", "classes": []})
    with pytest.raises(UserError, match="reads texts, but the samples of this study are images"):
        load_teacher(settings, {"classes": []})


def test_init_writes_a_study_that_check_finds_nothing_wrong_with(study, tmp_path, monkeypatch):
    folder, _ = study
    for name in ("words", "mine.py"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    page = (ROOT / "docs/retrieval.md").read_text()
    (command,) = (line for line in page.splitlines() if line.startswith("tuition init"))
    assert "methods ['embed-match', 'distill-kl']" in ran(*shlex.split(command.replace("320", "200"))[1:])
    found = parameters.load()
    assert (found.teach.strategy, found.data.watch, found.registry.name) == ("pairs", "words", "words")
    assert "documents, queries: 80 train, 10 extra, 20 val, 60 test" in ran("check")

    (tmp_path / "params.yaml").write_text(
        PARAMS
    )  # of its calls 60 are for validation and test, the others for the pool
    assert "params.yaml is valid: 2 cells" in ran("check")
    (tmp_path / "params.yaml").write_text(PARAMS.replace("[320]", "[220]"))
    found = tuition("check")
    assert found.exit_code == 2
    assert "'frozen' takes all 187 documents as the teacher has them" in found.output


def test_a_teacher_whose_embeddings_change_their_width_is_stopped_by_its_first_answer(study):
    folder, _ = study
    before = {name: (folder / name).read_text() for name in ("mine.py", "params.yaml")}
    (folder / "mine.py").write_text(TEACHER.replace(" 32", " 16"))
    (folder / "params.yaml").write_text(PARAMS.replace("[320]", "[330]"))
    paid = len(bill(folder))
    done = stage("teach", 330, cwd=folder, env=environment(folder))
    for name, text in before.items():
        (folder / name).write_text(text)
    assert done.returncode == 2
    assert "found shape (16,) a sample, but the first answer had (32,)" in done.stderr
    assert len(bill(folder)) == paid + 1

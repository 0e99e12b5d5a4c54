"""A study of real texts through every stage, from a CSV to a registered student that answers without this project.

The teacher is a function that keeps its own bill.
"""

import asyncio
import csv
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import bill, stage, templates
from support.registry import free_port, server, tuition

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs import texts
from tuition.origins import objects
from tuition.params import Data
from tuition.params.teacher import MlflowSettings
from tuition.registry import score
from tuition.sources import load_source
from tuition.teachers import load_teacher

CLASSES = ("animal", "person", "plant")
TEACHER = r'''
def scores(texts, keys, classes):
    """Words of each class, counted; a stranger's rules."""
    with open("bill.txt", "a") as bill:
        bill.writelines(f"{key}\n" for key in keys)
    words = {"animal": ("bird", "fish", "species", "breed", "insect"), "plant": ("plant", "tree", "shrub", "herb", "leaves")}
    assert all(isinstance(text, str) for text in texts)
    return [[3.0 * sum(word in text for word in words.get(name, ("someone", "who", "(1"))) for name in classes] for text in texts]
'''
PARAMS = """
study: {budgets: [60], methods: [kd], seeds: [0]}
data: {source: "csv:glosses.csv", columns: {text: definition, label: kind}}
encode: {source: tfidf, dimensions: 24}
teacher: {kind: python, name: mine, function: "mine:scores", batch_size: 20}
teach: {strategy: typiclust}
estimate: {estimator: auto}
student: {arch: text-cnn, vocabulary: 1000}
train: {steps: 60, batch_size: 32, optimizer: adamw, lr: 0.005, weight_decay: 0.01, validate_every: 20, rest: estimated, token_dropout: 0.1}
methods: {kd: {}}
register: {name: things}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of the study after every stage, and what each said."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "mine.py").write_text(TEACHER)
    (folder / "params.yaml").write_text(PARAMS)
    raw = load_source(Data(source="wordnet"))
    part = raw.parts["train"]
    with (folder / "glosses.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(text, raw.classes[label]) for text, label in zip(part.images, part.labels, strict=True)]
        out = csv.writer(file)
        out.writerow(("definition", "kind"))
        out.writerows([(text, kind) for text, kind in rows if kind in CLASSES][:700])
    templates.mlflow_database(folder / "mlflow.db")
    said = {}
    for name, *more in (
        ("prepare",),
        ("transfer",),
        ("encode",),
        ("teach", 60),
        ("estimate", 60),
        ("compare", 60),
        ("train", 60, "kd", 0),
        ("evaluate", 60, "kd", 0),
        ("report",),
        ("register",),
    ):
        ran = stage(name, *more, cwd=folder, env=environment(folder))
        assert ran.returncode == 0, f"{name}: {ran.stdout}{ran.stderr}"
        said[name] = ran.stdout
    return folder, said


def environment(folder):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return inherited | {"TUITION_LEDGER": str(folder / "ledger.db")}


def test_each_text_is_paid_once_and_the_student_learns(study):
    folder, said = study
    assert "characters" in said["prepare"]
    assert len(set(bill(folder))) == len(bill(folder)) == 60
    again = stage("teach", 60, cwd=folder, env=environment(folder))
    assert again.returncode == 0, again.stderr
    assert len(bill(folder)) == 60
    features = read_array(folder / "features/train.npy")
    assert features.shape == (len(read_array(folder / "data/train/ids.npy")), 24)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    found = read_json(folder / "results/60-kd-0/metrics.json")
    assert found["top1"] > 0.55  # the largest of three classes has 0.45
    assert found["agreement_with_teacher"] > 0.6


def test_the_page_shows_texts_escaped(study):
    page = (study[0] / "report/report.html").read_text(encoding="utf-8")
    assert page.count("<blockquote>") >= 3  # a rule about words is often wrong
    assert "data:image/png" not in page.split("<h2>Where teacher, label and student disagree</h2>")[1].split("<h2>")[0]
    assert texts.shown("<b>" + "x" * 400)["text"].endswith("x …")


def test_a_student_that_is_trained_again_is_the_same_to_the_bit(study):
    folder, _ = study
    weights = folder / "students/60-kd-0/weights.safetensors"
    before = weights.read_bytes()
    assert stage("train", 60, "kd", 0, cwd=folder, env=environment(folder)).returncode == 0
    assert weights.read_bytes() == before


def test_the_registered_student_takes_a_text_a_list_or_a_table_and_needs_nothing_of_this_project(
    study, monkeypatch, capsys
):
    folder, _ = study
    asked = ["a large bird of prey", "someone who sings", "a small tree\nwith “white” flowers"]
    code = (
        "import json, sys; sys.modules['tuition'] = None; import mlflow, pandas as pd\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "student = mlflow.pyfunc.load_model('models:/things@champion')\n"
        "asked = json.loads(sys.argv[1])\n"
        "tables = [student.predict(one) for one in (asked, pd.DataFrame({'n': [1, 2, 3], 'text': asked}), pd.Series(asked))]\n"
        "tables += [pd.concat([student.predict(one) for one in asked])]\n"
        "print(json.dumps([table.to_numpy().tolist() for table in tables]), list(tables[0].columns))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)], cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    answers, end = json.JSONDecoder().raw_decode(ran.stdout)
    assert ran.stdout[end:].strip() == str(list(CLASSES))
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-6)
    np.testing.assert_allclose(np.sum(answers[0], axis=1), 1, atol=1e-5)

    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    pd.DataFrame({"definition": [*asked, " "], "number": range(4)}).to_csv("asked.csv", index=False)
    told = tuition("predict", "asked.csv", asked[0], "--csv", "out.csv")
    assert told.exit_code == 1
    assert "text 3: holds nothing but white space" in told.stderr
    table = pd.read_csv("out.csv")
    assert table["text"].tolist()[:3] == asked
    expected = [CLASSES[place] for place in np.argmax(answers[0], axis=1)]
    assert table["class"].tolist()[:3] == expected
    assert table["class"][4] == expected[0]
    own = json.loads(tuition("predict", *asked, "--json", "--weights", "students/60-kd-0").output)
    assert [one["class"] for one in own["predictions"]] == expected

    score.main(["asked.csv", "--model", "models:/things@champion", "--out", "scored.csv", "--probabilities"])
    assert "scored.csv: 4 texts, 3 classified, 1 could not be read" in capsys.readouterr().out
    scored = pd.read_csv("scored.csv")
    assert scored["text"].tolist()[:3] == asked
    assert scored["class"].tolist()[:3] == expected
    assert scored["reason"][3] == "holds nothing but white space"
    found = scored[[f"p_{name}" for name in CLASSES]].to_numpy()[:3]
    np.testing.assert_allclose(found, answers[0], atol=1e-5)
    np.testing.assert_allclose(scored["probability"][:3], found.max(axis=1))
    Path("photos").mkdir()
    Path("photos/a.png").touch()
    with pytest.raises(UserError, match="takes texts, found a folder; name a table of texts: csv, jsonl, parquet"):
        score.main(["photos", "--model", "models:/things@champion"])
    wrong = tuition("predict", "asked.csv", "--column", "what")
    assert "asked.csv: column: 'what' is not known. Valid: definition, number" in wrong.output


async def taught(port, asked, options):
    url = f"http://127.0.0.1:{port}"
    settings = MlflowSettings(url=url, scores="probabilities", options=options)
    async with load_teacher(settings, {"inputs": "texts", "classes": list(CLASSES), "characters": [1, 99]}) as teacher:
        reply = await teacher.answer(objects(asked), [f"{number:032x}" for number in range(len(asked))])
    assert reply.malformed is None
    return reply.signals["logits"]


@pytest.mark.long  # 20 s, and the table above is what the server answers from
def test_mlflow_serves_texts_as_people_send_them(study, tmp_path):
    folder, port = study[0], free_port()
    asked = ["a large bird of prey", "someone who “sings”,\nat night", "e\u0301 🌳"]
    own = json.loads(
        tuition("predict", *asked, "--json", "--top", "3", "--weights", folder / "students/60-kd-0").output
    )
    expected = [{one["class"]: one["probability"] for one in row["top"]} for row in own["predictions"]]

    def answered(body):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["predictions"]

    command = ["models", "serve", "-m", "models:/things@champion", "--env-manager", "local", "-h", "127.0.0.1"]
    with server([*command, "-p", str(port)], port, "ping", tmp_path, f"sqlite:///{folder}/mlflow.db"):
        for body in (
            {"inputs": asked},
            {"instances": asked},
            {"dataframe_split": {"columns": ["text"], "data": [[one] for one in asked]}},
            {"dataframe_records": [{"number": 1, "text": one} for one in asked]},
        ):
            for found, row in zip(answered(body), expected, strict=True):
                assert found == pytest.approx(row, abs=1e-5)
        for options in ({}, {"input": "dataframe"}):  # and a teacher of kind mlflow asks as they do
            found = asyncio.run(taught(port, asked, options))
            np.testing.assert_allclose(np.exp(found), [[row[name] for name in CLASSES] for row in expected], atol=1e-5)
        (alone,) = answered({"inputs": asked[0]})
        assert alone == pytest.approx(expected[0], abs=1e-5)
        with pytest.raises(urllib.error.HTTPError) as refused:
            answered({"inputs": ["a", " "]})
        assert "text 1: holds nothing but white space" in refused.value.read().decode()

"""kind `mlflow` against `mlflow models serve`, and what it makes of answers that no such server should give."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import digits

from tuition.errors import UserError
from tuition.params.teacher import TeacherSettings, teacher_settings
from tuition.teachers import Stop, load_teacher

DATA = {"channels": 1, "height": 8, "width": 8, "classes": [str(n) for n in range(10)], "mean": [0.1], "std": [0.3]}
IMAGES = digits(24)[0][:, 2:26, 2:26].reshape(24, 1, 8, 3, 8, 3).mean((3, 5)).astype(np.uint8)  # (24, 1, 8, 8)
KEYS = [f"{number:032x}" for number in range(24)]
SEED = 7

MODELS = '''
"""Log two models: one of tensors, of one matrix, and scikit-learn's of a dataframe. Neither needs torch."""
import sys
import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sklearn.linear_model import LogisticRegression

images = np.load("images.npy")
mlflow.set_tracking_uri("sqlite:///store.db")
mlflow.set_experiment("servers")

class Matrix(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        x = np.asarray(model_input, dtype=np.float64)
        assert x.shape[1:] == (1, 8, 8), x.shape
        logits = x.reshape(len(x), -1) @ np.random.default_rng(7).normal(size=(64, 10)) / 100
        return {"logits": logits, "embedding": x.mean((1, 3))}

classes = np.random.default_rng(0).permutation(10)
forest = LogisticRegression(max_iter=50).fit(images.reshape(len(images), -1), np.arange(len(images)) % 10)
np.save("expected.npy", forest.predict_proba(images.reshape(len(images), -1)))

with mlflow.start_run():
    tensors = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 1, 8, 8))]))
    made = mlflow.pyfunc.log_model(name="matrix", python_model=Matrix(), signature=tensors, pip_requirements=["numpy"])
    print("matrix", made.model_uri)
    made = mlflow.sklearn.log_model(
        forest, name="forest", pyfunc_predict_fn="predict_proba", pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
    )
    print("forest", made.model_uri)
'''


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The URL of a server of each model, and the folder with what they should answer."""
    folder = tmp_path_factory.mktemp("served")
    np.save(folder / "images.npy", IMAGES)
    (folder / "log.py").write_text(MODELS)
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/store.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where MLflow looks for uvicorn
    environment = {**os.environ, **store, "PATH": path}
    logged = subprocess.run(
        [sys.executable, "log.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert logged.returncode == 0, logged.stderr
    models = dict(line.split() for line in logged.stdout.splitlines() if line.startswith(("matrix ", "forest ")))
    servers, urls = [], {}
    try:
        for name, model in models.items():
            port = free_port()
            options = f"-m {model} --env-manager local -p {port}".split()
            command = [sys.executable, "-m", "mlflow", "models", "serve", *options]
            with (folder / f"{name}.txt").open("w") as out:
                servers.append(psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT))
            urls[name] = f"http://127.0.0.1:{port}"
        for name, server in zip(urls, servers, strict=True):
            wait_for(server, f"{urls[name]}/ping", folder / f"{name}.txt")
        yield urls, folder
    finally:
        for server in servers:
            family = [server, *server.children(recursive=True)] if server.is_running() else []
            for one in family:
                one.terminate()
            for one in psutil.wait_procs(family, timeout=10)[1]:
                one.kill()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(server: psutil.Popen, url: str, log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no server after two minutes: {log.read_text()}")


def settings(url: str = "http://127.0.0.1:9", **more) -> TeacherSettings:
    return teacher_settings(
        **{"kind": "mlflow", "url": url, "batch_size": 8, "timeout": 60.0, "patience": 60.0, **more}
    )


def answers(url: str, **more) -> dict[str, np.ndarray]:
    """All images, asked in three requests at once."""
    teacher = load_teacher(settings(url, **more), DATA)

    async def run():
        async with teacher:
            return await asyncio.gather(*(teacher.answer(IMAGES[i : i + 8], KEYS[i : i + 8]) for i in (0, 8, 16)))

    replies = asyncio.run(run())
    assert [reply.malformed for reply in replies] == [None] * 3
    return {name: np.concatenate([reply.signals[name] for reply in replies]) for name in replies[0].signals}


def matrix(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1) @ np.random.default_rng(SEED).normal(size=(64, 10)) / 100


@pytest.mark.slow
def test_tensors(served):
    said = answers(served[0]["matrix"], options={"signals": ["logits", "embedding"]})
    assert list(said) == ["logits", "embedding"]
    np.testing.assert_allclose(said["logits"], matrix(IMAGES.astype(np.float64)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(said["embedding"], IMAGES.astype(np.float64).mean((1, 3)), rtol=1e-6)


@pytest.mark.slow
def test_tensors_that_are_normalised(served):
    said = answers(served[0]["matrix"], options={"signals": ["logits"]}, mean=[0.1], std=[0.3])
    np.testing.assert_allclose(said["logits"], matrix((IMAGES / 255 - 0.1) / 0.3), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_dataframes_and_probabilities(served):
    urls, folder = served
    said = answers(urls["forest"], options={"input": "dataframe"}, scores="probabilities")
    expected = np.load(folder / "expected.npy")
    again = np.exp(said["logits"]) / np.exp(said["logits"]).sum(1, keepdims=True)
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_what_the_real_server_says_to_a_wrong_question(served):
    """Tensors of another shape: the model itself fails, and the server says 400."""
    teacher = load_teacher(settings(served[0]["matrix"], resize=9), DATA)

    async def run():
        async with teacher:
            await teacher.answer(IMAGES[:2], KEYS[:2])

    with pytest.raises(
        Stop, match=r"teacher\.kind, teacher\.options, teacher\.model or teacher\.resize: .* answered 400"
    ):
        asyncio.run(run())


@pytest.mark.slow
def test_a_path_that_is_wrong_stops_before_the_first_call(served):
    with pytest.raises(Stop, match=r"teacher\.url: its /ping answers 404"):
        answers(served[0]["matrix"] + "/wrong")
    with pytest.raises(urllib.error.HTTPError):  # the server has no such place
        urllib.request.urlopen(served[0]["matrix"] + "/wrong/ping", timeout=10)


def form(**more):
    return load_teacher(settings(**more), DATA).format


def read(predictions, count: int = 2, **more):
    return form(**more).read(json.dumps({"predictions": predictions}).encode(), {}, KEYS[:count])


ROWS = [[float(n) for n in range(10)], [float(-n) for n in range(10)]]


def test_columns_that_are_named_as_classes_are_put_in_their_order():
    named = [{str(n): row[n] for n in reversed(range(10))} for row in ROWS]
    np.testing.assert_array_equal(read(named).signals["logits"], ROWS)
    more = [{"chosen": "three", **row} for row in named]
    np.testing.assert_array_equal(read(more).signals["logits"], ROWS)
    np.testing.assert_array_equal(read({"output_0": ROWS}).signals["logits"], ROWS)


def test_columns_of_other_names_are_put_in_order_by_their_labels_or_numbers_and_else_refused():
    letters = [chr(ord("a") + n) for n in range(10)]
    other = {**DATA, "classes": letters}
    body = json.dumps({"predictions": [{f"score {n}": row[n] for n in reversed(range(10))} for row in ROWS]}).encode()
    refused = load_teacher(settings(), other).format.read(body, {}, KEYS[:2]).malformed
    assert "columns 'score 9, score 8, " in refused
    assert "set teacher.options.labels to the columns' names" in refused
    labels = [f"score {n}" for n in range(10)]
    labelled = load_teacher(settings(options={"labels": labels}), other)
    np.testing.assert_array_equal(labelled.format.read(body, {}, KEYS[:2]).signals["logits"], ROWS)
    assert labelled.description["options"]["labels"] == labels
    numbered = json.dumps({"predictions": [{str(n): row[n] for n in reversed(range(10))} for row in ROWS]}).encode()
    np.testing.assert_array_equal(
        load_teacher(settings(), other).format.read(numbered, {}, KEYS[:2]).signals["logits"], ROWS
    )
    with pytest.raises(
        UserError, match=r"teacher\.options\.labels: found 2 names, expected one for each of the data's 10"
    ):
        load_teacher(settings(options={"labels": ["a", "b"]}), other)


@pytest.mark.parametrize(
    ("predictions", "why"),
    [
        ([{"a": 1.0, "b": 2.0}] * 2, "they are not the data's classes"),
        ([3, 4], "expected a score for each class"),
        (ROWS[:1], "found 1 rows, asked for 2"),
        ([[1.0], [1.0, 2.0]], "different lengths"),
        ([["a"], ["b"]], "not numbers"),
        ([[None], [1.0]], "not numbers"),
        ([{"a": 1.0}, {"b": 1.0}], "different columns"),
        ({"a": ROWS, "b": ROWS}, "no logits in the predictions, only 'a', 'b'"),
        (None, "not numbers"),
        ("seven", "not numbers"),
        (7, "found 0 rows"),
        ([], "found 0 rows"),
        ({}, "no logits"),
    ],
)
def test_answers_that_cannot_be_used_say_why(predictions, why):
    reply = read(predictions)
    assert why in reply.malformed
    assert reply.raw == json.dumps({"predictions": predictions}).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"predictions": [[1', "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not an object"),
        (b'{"error_code": "X"}', 'no "predictions"'),
    ],
)
def test_bodies_that_cannot_be_used_say_why(body, why):
    assert why in form().read(body, {}, KEYS[:2]).malformed


def test_nan_is_an_answer_here_and_judged_elsewhere():
    reply = form().read(b'{"predictions": [[NaN, 1.0]]}', {}, KEYS[:1])
    assert reply.malformed is None
    assert np.isnan(reply.signals["logits"][0, 0])


def test_what_is_sent():
    asked = json.loads(form(mean=[0.5]).request(IMAGES[:2], KEYS[:2]).content)
    np.testing.assert_allclose(asked["inputs"], IMAGES[:2] / 255 - 0.5, atol=1e-7)
    names = [f"pixel{n}" for n in range(64)]
    request = form(options={"input": "dataframe", "columns": names}).request(IMAGES[:2], KEYS[:2])
    frame = json.loads(request.content)["dataframe_split"]
    assert (request.path, frame["columns"], frame["index"]) == ("/invocations", names, [0, 1])
    assert frame["data"] == IMAGES[:2].reshape(2, 64).tolist()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"options": {"inputs": "tensor"}},
            r"'inputs' is not known\. Did you mean 'input'\? Valid: columns, input, labels, probe, signals",
        ),
        ({"options": {"input": "csv"}}, r"teacher\.options\.input: found 'csv'"),
        (
            {"options": {"input": "dataframe", "columns": ["a"]}},
            r"teacher\.options\.columns: found 1 names, expected 64: one a text, or a pixel",
        ),
        ({"options": {"columns": list(range(64))}}, r"teacher\.options\.input to dataframe"),
        ({"options": {"signals": []}}, r"teacher\.options\.signals"),
        ({"mean": [0.1, 0.2]}, r"teacher\.mean: found 2 values, the data has 1 channels"),
        ({"url": "http://127.0.0.1:9/invocations"}, r"teacher\.url: .*without /invocations"),
    ],
)
def test_settings_that_cannot_be_used(more, words):
    with pytest.raises(UserError, match=words):
        form(**more)


def test_the_description_holds_what_decides_the_answers():
    one = load_teacher(settings(model="m", version="3", options={"input": "dataframe", "probe": False}), DATA)
    assert one.description["options"] == {"input": "dataframe", "columns": None}
    assert "http" not in json.dumps(one.description)
    assert one.format.probes() == []


@pytest.mark.parametrize(
    ("path", "status", "body", "key"),
    [
        ("/ping", 404, b"", "teacher.url"),
        ("/version", 200, b"<html>", "teacher.kind"),
        ("/ping", 403, b"", "teacher.url"),
    ],
)
def test_probes_of_other_servers(path, status, body, key):
    with pytest.raises(Stop) as raised:
        form().check(path, status, body)
    assert str(raised.value).startswith(key)
    form().check("/version", 200, b"3.17.2")
    form().check("/version", 200, b'"3.17.2"')
    form().check("/ping", 200, b"\n")

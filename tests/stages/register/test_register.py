"""End to end: a study's files → a version in the registry → a process that knows nothing of this project."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.registry import NAME, free_port, server, tuition
from support.small_study import NAMES, TEST, digits, logits_of, make_study, run_python, student, write_cell

from stages.register.__main__ import main
from tuition.errors import UserError
from tuition.files import digest, read_json
from tuition.inputs.images.files import png
from tuition.inputs.images.tuition_images import fitted
from tuition.tracking import store

# the project is installed in this environment: a process that must not know it may not import it
WITHOUT_PROJECT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tuition", "stages", "flows", "small_study"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
"""
PREDICT = (
    WITHOUT_PROJECT
    + """
import mlflow, numpy as np
images = np.load(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
np.savez(sys.argv[3], **{str(n): model.predict(images[:n]).to_numpy() for n in (1, 7, 1000)})
print(model.metadata.metadata, list(model.predict(images[:1])), list(model.input_example.shape))
"""
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_registered_student_runs_where_this_project_is_not(registered: Path, tmp_path: Path) -> None:
    images = digits()[0][:1000]
    np.save(tmp_path / "images.npy", images)
    uri = f"sqlite:///{registered}/mlflow.db"
    process = run_python(
        "-I",
        "-c",
        PREDICT,
        "images.npy",
        f"models:/{NAME}@challenger",
        "out.npz",
        cwd=tmp_path,
        MLFLOW_TRACKING_URI=uri,
    )
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    expected = softmax(logits_of(student(20, 0)[0], images))
    with np.load(tmp_path / "out.npz") as answers:
        for n in (1, 7, 1000):
            assert answers[str(n)].dtype == np.float32
            np.testing.assert_allclose(answers[str(n)], expected[:n], atol=1e-5)
    assert said.count("['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']") == 2
    assert "'shape': [1, 28, 28]" in said


def test_the_model_needs_little_and_pins_it(registered: Path) -> None:
    import torch

    (folder,) = (registered / "mlruns" / NAME / "models").glob("*/artifacts")
    needs = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in needs} == {"mlflow", "numpy", "pandas", "pillow", "torch"}
    assert f"torch=={torch.__version__.split('+')[0]}" in needs
    assert {path.name for path in (folder / "code").glob("*.py")} == {"tuition_student.py", "tuition_images.py"}
    assert not list(folder.rglob("*.pkl"))


def test_a_version_says_where_its_student_came_from(workspace: Path) -> None:
    said = read_json(Path("report/registered.json"))
    assert said["cell"] == "100-kd-0"
    assert (said["version"], said["alias"], said["aliases"]) == ("1", "champion", ["champion", "challenger"])
    client = store.connect_store(NAME).client
    version = client.get_model_version_by_alias(NAME, "champion")
    assert version.version == client.get_model_version_by_alias(NAME, "challenger").version
    tags = version.tags
    assert tags["weights_sha256"] == said["weights_sha256"]
    assert tags["test_digest"] == read_json(Path("data/test/meta.json"))["digest"]
    assert (tags["calls"], tags["cost"], tags["cell"]) == ("100", "1.0", "100-kd-0")
    assert tags["teacher_fingerprint"] == "f" * 64
    assert client.get_run(said["run_id"]).data.tags["tuition.cell"] == "100-kd-0"
    assert client.get_run(version.run_id).info.status == "FINISHED"


def test_the_same_student_is_registered_once(workspace: Path) -> None:
    main([])
    said = read_json(Path("report/registered.json"))
    assert said["version"] == "1"
    assert "not registered again" in said["reason"]
    assert len(store.connect_store(NAME).client.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_better_student_takes_the_champions_place_and_a_worse_one_does_not(workspace: Path) -> None:
    client = store.connect_store(NAME).client
    write_cell(workspace, 100, "kd", 0, steps=3)  # a code change for the worse
    main([])
    worse = read_json(Path("report/registered.json"))
    assert (worse["version"], worse["aliases"]) == ("2", ["challenger"])
    assert "not better" in worse["reason"]
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "1"
    assert str(client.get_model_version_by_alias(NAME, "challenger").version) == "2"
    write_cell(workspace, 100, "ce", 0, steps=40)
    main([])
    better = read_json(Path("report/registered.json"))
    assert (better["version"], better["aliases"], better["cell"]) == ("3", ["champion", "challenger"], "100-ce-0")
    assert "McNemar p = " in better["reason"]
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "3"


def test_a_champion_of_other_test_samples_stays(workspace: Path) -> None:
    meta = Path("data/test/meta.json")
    meta.write_text(json.dumps(read_json(meta) | {"digest": "0" * 64}))
    write_cell(workspace, 100, "ce", 0, steps=40)
    main([])
    said = read_json(Path("report/registered.json"))
    assert said["aliases"] == ["challenger"]
    assert "tested on other samples" in said["reason"]


def test_arguments_are_refused(workspace: Path) -> None:
    with pytest.raises(UserError, match="expected no arguments, or check"):
        main(["100"])


@pytest.mark.slow
def test_mlflow_serves_the_student(registered: Path, tmp_path: Path) -> None:
    port = free_port()
    command = ["models", "serve", "-m", f"models:/{NAME}@champion", "--env-manager", "local"]
    with server(
        [*command, "-h", "127.0.0.1", "-p", str(port)], port, "ping", tmp_path, f"sqlite:///{registered}/mlflow.db"
    ):
        images = digits()[0][TEST]
        expected = softmax(logits_of(student(20, 0)[0], images))
        for n in (1, 3, 64):
            np.testing.assert_allclose(_asked(port, {"inputs": images[:n].tolist()}), expected[:n], atol=1e-5)
        last = np.moveaxis(images[:5], 1, -1) / 255
        np.testing.assert_allclose(_asked(port, {"inputs": last.tolist()}), expected[:5], atol=1e-5)
        files = [base64.b64encode(png(image)).decode() for image in images[:5]]
        large = np.asarray(Image.fromarray(images[5, 0]).resize((90, 61)))
        files.append(base64.b64encode(png(large[None])).decode())
        small = softmax(logits_of(student(20, 0)[0], fitted(large[None, None], (28, 28))))
        by_file = np.concatenate([expected[:5], small])
        np.testing.assert_allclose(_asked(port, {"inputs": files}), by_file, atol=1e-5)
        records = [{"image": file} for file in files]
        np.testing.assert_allclose(_asked(port, {"dataframe_records": records}), by_file, atol=1e-5)
        with pytest.raises(urllib.error.HTTPError) as refused:
            _asked(port, {"inputs": images[:1, :, :, :9].repeat(2, axis=1).tolist()})
        assert "expected (n, 1, height, width) or (n, height, width, 1)" in refused.value.read().decode()


def _asked(port: int, body: dict[str, Any]) -> np.ndarray:
    """The probabilities (n, classes) that a server gives, by the names of its classes."""
    content = json.dumps(body).encode()
    url = f"http://127.0.0.1:{port}/invocations"
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array([[row[name] for name in NAMES] for row in json.load(answer)["predictions"]])


@pytest.mark.slow
@pytest.mark.long
def test_a_tracking_server_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    home, work = tmp_path / "server", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    command = [
        "server",
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        f"{home}/kept",
    ]
    with server([*command, "--workers", "1", "--host", "127.0.0.1", "--port", str(port)], port, "health", home, ""):
        uri = f"http://127.0.0.1:{port}"
        make_study(work, methods=("ce",))
        write_cell(work, 100, "ce", 0, steps=12)
        for _ in range(2):
            done = run_python("-m", "stages.register", cwd=work, MLFLOW_TRACKING_URI=uri)
            assert done.wait(300) == 0, done.communicate()[0]
        assert "not registered again" in read_json(work / "report/registered.json")["reason"]
        assert not (work / "mlflow.db").exists()
        assert not (work / "mlruns").exists()
        np.save(tmp_path / "images.npy", digits()[0][:1000])
        process = run_python(
            "-I",
            "-c",
            PREDICT,
            "images.npy",
            f"models:/{NAME}@champion",
            "out.npz",
            cwd=tmp_path,
            MLFLOW_TRACKING_URI=uri,
        )
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said
        with np.load(tmp_path / "out.npz") as answers:
            expected = softmax(logits_of(student(12, 0)[0], digits()[0][:7]))
            np.testing.assert_allclose(answers["7"], expected, atol=1e-5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.chdir(work)
        _history_on_a_server(work, uri)


def _history_on_a_server(work: Path, uri: str) -> None:
    """A second champion, the way back, and what there is to read of it; a name that is taken there."""
    write_cell(work, 100, "ce", 0, steps=40)
    main([])
    client = store.connect_store(NAME).client
    assert read_json(work / "report/registered.json")["aliases"] == ["champion", "challenger"]
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "2"
    assert tuition("promote", "1").exit_code == 1
    assert tuition("demote", "--reason", "to see").exit_code == 0
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "1"
    told = json.loads(tuition("history", "--json").stdout)
    assert [(event["event"], event["version"]) for event in told["events"]] == [
        ("promoted", "1"),
        ("promoted", "2"),
        ("demoted", "2"),
    ]
    made = json.loads(tuition("lineage", "2", "--json").stdout)["made_of"]
    assert (made["calls"], made["outputs"]["ids"]) == (100, digest(np.load(work / "outputs/100/ids.npy")))
    assert tuition("export", "champion", "student.onnx").exit_code == 0
    client.create_registered_model("digits")
    one = client.get_model_version(NAME, "1")
    model = one.source.removeprefix("models:/")
    client.create_model_version("digits", one.source, one.run_id, tags={"cell": "B4"}, model_id=model)
    params = (work / "params.yaml").read_text()
    (work / "params.yaml").write_text(params.replace(f"name: {NAME}", "name: digits"))
    with pytest.raises(UserError, match=f"register.name: 'digits' is taken by another project in {uri}"):
        main(["check"])
    assert client.get_experiment_by_name("digits") is None

"""kind `oip` against MLServer and Triton themselves, each in an environment of its own. The calls are counted at the server."""

import asyncio
import ctypes.util
import functools
import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import digits
from support.environments import SERVERS, environment, free_ports, running

from tuition.params.teacher import teacher_settings
from tuition.teachers import Stop, load_teacher

pytestmark = pytest.mark.slow
WEIGHTS = np.random.default_rng(0).normal(size=(28 * 28, 10)).astype(np.float32)
DATA = {"channels": 1, "height": 28, "width": 28, "classes": [str(n) for n in range(10)], "mean": [0.1], "std": [0.3]}
INPUT = {"name": "images", "datatype": "UINT8", "shape": [-1, 1, 28, 28]}
OUTPUTS = [
    {"name": "rows", "datatype": "INT64", "shape": [-1, 1]},
    {"name": "scores", "datatype": "FP32", "shape": [-1, 10]},
]


class Server:
    """Where a running server is, and what it counted."""

    def __init__(self, url: str, folder: Path):
        self.url, self.folder = url, folder

    def images(self, model: str = "digits") -> list[str]:
        path = self.folder / f"{model}.bill"
        return path.read_text().split() if path.exists() else []


@pytest.fixture(scope="session")
def mlserver(tmp_path_factory):
    """MLServer with three models: `digits`, `broken` (NaN in row 1), and `bare`, which tells nothing of its inputs and outputs."""
    folder, python = tmp_path_factory.mktemp("mlserver"), environment("mlserver")
    np.save(folder / "weights.npy", WEIGHTS)
    (folder / "mlserver_runtime.py").write_bytes((SERVERS / "mlserver_runtime.py").read_bytes())
    for name, told in (("digits", {"inputs": [INPUT], "outputs": OUTPUTS}), ("broken", {}), ("bare", {})):
        extra = {
            "weights": str(folder / "weights.npy"),
            "bill": str(folder / f"{name}.bill"),
            "broken": name == "broken",
        }
        settings = {"name": name, "implementation": "mlserver_runtime.Linear", "parameters": {"extra": extra}, **told}
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps(settings))
    http, grpc, metrics = free_ports(3)
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
    url = f"http://127.0.0.1:{http}"
    with running(
        [python.with_name("mlserver"), "start", folder], f"{url}/v2/health/ready", folder, {"PYTHONPATH": str(folder)}
    ):
        yield Server(url, folder)


@pytest.fixture(scope="session")
def triton(tmp_path_factory):
    """Triton, CPU only, with the model `digits`. Its Python back-end needs a shared library of our version of Python."""
    if sys.version_info >= (3, 13):
        pytest.skip("Triton's Python back-end reads no array of NumPy 2, and there is no older NumPy for this Python")
    library = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if ctypes.util.find_library(library) is None:
        pytest.skip(f"Triton's Python back-end needs lib{library}.so, which is not installed")
    folder, python = tmp_path_factory.mktemp("triton"), environment("triton")
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    shipped = packages / "pytriton/tritonserver"
    backend = folder / "backends/python"
    backend.mkdir(parents=True)
    for source in (*shipped.glob("backends/python/*"), *shipped.glob(f"python_backend_stubs/{library[6:]}/*")):
        (backend / source.name).symlink_to(source)
    np.save(folder / "weights.npy", WEIGHTS)
    (folder / "models/digits/1").mkdir(parents=True)
    (folder / "models/digits/1/model.py").write_bytes((SERVERS / "triton_model.py").read_bytes())
    (folder / "models/digits/config.pbtxt").write_text(
        'backend: "python" max_batch_size: 64 instance_group [{ kind: KIND_CPU }]\n'
        'input [{ name: "images" data_type: TYPE_UINT8 dims: [1, 28, 28] }]\n'
        'output [{ name: "rows" data_type: TYPE_INT64 dims: [1] }, { name: "scores" data_type: TYPE_FP32 dims: [10] }]\n'
        f'parameters [{{ key: "weights" value: {{ string_value: "{folder}/weights.npy" }} }},\n'
        f'{{ key: "bill" value: {{ string_value: "{folder}/digits.bill" }} }}]\n'
    )
    (port,) = free_ports(1)
    command = [
        shipped / "bin/tritonserver",
        f"--model-repository={folder}/models",
        f"--backend-directory={folder}/backends",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--exit-timeout-secs=5",
    ]
    more = {"LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"), "SITE_PACKAGES": str(packages)}
    with running(command, f"http://127.0.0.1:{port}/v2/health/ready", folder, more):
        yield Server(f"http://127.0.0.1:{port}", folder)


@pytest.fixture(params=["mlserver", "triton"])
def server(request) -> Server:
    return request.getfixturevalue(request.param)


def teacher(server: Server, data: dict = DATA, settings: dict | None = None, **options):
    given = {"kind": "oip", "url": server.url, "model": "digits", "batch_size": 8, "patience": 20.0, **(settings or {})}
    return load_teacher(teacher_settings(**given, options={"input": "images", **options}), data)


def ask(one, images: np.ndarray) -> list:
    """The replies to `images`, in batches of the teacher's size, all under way at once."""
    keys = [hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in images]

    async def asking():
        async with one:
            size = one.settings.batch_size
            starts = range(0, len(images), size)
            return await asyncio.gather(*(one.answer(images[at : at + size], keys[at : at + size]) for at in starts))

    return asyncio.run(asking())


def scores(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float64) @ WEIGHTS.astype(np.float64)


@functools.cache  # the file is read slowly
def _digits() -> np.ndarray:
    return digits(50)[0][:, None]


def some_digits(count: int) -> np.ndarray:
    return _digits()[:count]


@pytest.mark.parametrize("options", [{}, {"output": "scores"}])
def test_scores_come_back_for_the_images_that_were_sent(server, options):
    images, before = some_digits(50), len(server.images())
    replies = ask(teacher(server, **options), images)
    assert [reply.malformed for reply in replies] == [None] * 7
    logits = np.concatenate([reply.signals["logits"] for reply in replies])
    np.testing.assert_allclose(logits, scores(images), rtol=1e-4, atol=0.5)  # sums of 784 products in float32
    assert len(server.images()) - before == 50


def test_each_image_reaches_the_model_once_and_as_it_is(mlserver):
    images, before = some_digits(30), Counter(mlserver.images())
    ask(teacher(mlserver), images)
    assert Counter(mlserver.images()) - before == Counter(
        hashlib.sha256(image.tobytes()).hexdigest() for image in images
    )


@pytest.mark.parametrize("options", [{}, {"output": "scores"}])
def test_binary_tensors_with_triton(triton, options):
    """The same numbers as in JSON, in an answer of bytes."""
    images = some_digits(20)
    binary, plain = ask(teacher(triton, binary=True, **options), images), ask(teacher(triton), images)
    for one, other in zip(binary, plain, strict=True):
        assert one.malformed is None
        np.testing.assert_array_equal(one.signals["logits"], other.signals["logits"])


def test_a_question_in_bytes_is_what_tritons_own_client_sends(mlserver, triton, tmp_path):
    """MLServer's environment has that client."""
    images = some_digits(3)
    np.save(tmp_path / "images.npy", images)
    command = [environment("mlserver"), SERVERS / "triton_client.py", tmp_path / "images.npy", "00aa", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    chosen = teacher(triton, binary=True).format
    ours = chosen.request(images, ["00aa"])
    length = int(ours.headers["Inference-Header-Content-Length"])
    assert json.loads(ours.content[:length]) == json.loads((tmp_path / "head.json").read_bytes())
    assert ours.content[length:] == (tmp_path / "tail.bin").read_bytes()


def test_mlserver_has_no_binary_tensors_and_says_so_before_a_call(mlserver):
    before = len(mlserver.images())
    with pytest.raises(Stop, match=r"teacher\.options\.binary: .* set it to false"):
        ask(teacher(mlserver, binary=True), some_digits(4))
    assert len(mlserver.images()) == before


@pytest.mark.parametrize(
    ("data", "settings", "options", "words"),
    [
        ({}, {"model": "nothing"}, {}, r"teacher\.model: the server has no 'nothing'"),
        ({}, {}, {"input": "pixels"}, r"teacher\.options\.input: .*no input 'pixels'; it has images \(UINT8"),
        ({}, {"mean": [0.1], "std": [0.3]}, {}, r"teacher\.options\.datatype: .*UINT8.* FP32 would be sent"),
        ({}, {}, {"flatten": True}, r"teacher\.options\.flatten"),
        ({}, {"resize": 32}, {}, r"teacher\.resize"),
        ({}, {}, {"output": "logits"}, r"teacher\.options\.output: .*no output 'logits'; it has rows"),
        (
            {"classes": ["a", "b", "c"]},
            {},
            {},
            r"teacher\.model: 'digits' gives .*scores.*, but the data has 3 classes",
        ),
        (
            {"classes": ["a", "b", "c"]},
            {},
            {"output": "scores"},
            r"scores \(FP32 \[-1, 10\]\), but the data has 3 classes",
        ),
    ],
)
def test_what_cannot_succeed_stops_before_a_call(server, data, settings, options, words):
    before = len(server.images())
    with pytest.raises(Stop, match=words):
        ask(teacher(server, DATA | data, settings, **options), some_digits(4))
    assert len(server.images()) == before


def test_a_version_that_is_not_there(triton):
    with pytest.raises(Stop, match=r"teacher\.model or teacher\.options\.model_version.*digits/versions/7"):
        ask(teacher(triton, model_version=7), some_digits(4))
    (reply,) = ask(teacher(triton, model_version=1), some_digits(4))
    assert reply.malformed is None


def test_a_model_without_metadata_whose_classes_are_others(mlserver):
    """Nothing warns before the call; its answer is then not used."""
    (reply,) = ask(teacher(mlserver, DATA | {"classes": ["a", "b", "c"]}, {"model": "bare"}), some_digits(4))
    assert "no output of shape [4, 3]" in reply.malformed
    assert b"scores" in reply.raw


def test_nan_of_a_real_server_is_in_its_row_alone(mlserver):
    """MLServer writes NaN as null."""
    images = some_digits(4)
    (reply,) = ask(teacher(mlserver, settings={"model": "broken"}), images)
    assert np.isnan(reply.signals["logits"]).all(axis=1).tolist() == [False, True, False, False]
    np.testing.assert_allclose(reply.signals["logits"][2:], scores(images)[2:], rtol=1e-4, atol=0.5)


def test_another_kind_of_server(mlserver):
    """Below a path of MLServer's where nothing is."""
    wrong = Server(f"{mlserver.url}/elsewhere", mlserver.folder)
    with pytest.raises(Stop, match=r"teacher\.kind: nothing that speaks the Open Inference Protocol"):
        ask(teacher(wrong), some_digits(4))

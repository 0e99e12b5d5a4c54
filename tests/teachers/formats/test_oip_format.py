"""The Open Inference Protocol as a wire format, without a server: questions as it writes them, answers as servers may send them."""

import json
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuition.errors import UserError
from tuition.params.teacher import teacher_settings
from tuition.teachers import Stop
from tuition.teachers.formats.oip import OipFormat
from tuition.teachers.formats.tensors import LENGTH, TYPES

DATA = {"channels": 3, "height": 8, "width": 6, "classes": ["a", "b", "c"], "mean": [0.5] * 3, "std": [0.2] * 3}
KEYS = ["00aa", "00bb"]
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6), dtype=np.uint8)
SCORES = np.array([[0.5, -1.0, 3.25], [7.0, 0.0, -2.5]], dtype=np.float32)


def form(settings: dict | None = None, data: dict = DATA, **options) -> OipFormat:
    given = {"kind": "oip", "url": "http://127.0.0.1:1", "model": "digits", "batch_size": 2, **(settings or {})}
    return OipFormat(teacher_settings(**given, options=options), data)


def answer(outputs: list | None = None, **more) -> bytes:
    listed = [{"name": "scores", "datatype": "FP32", "shape": [2, 3], "data": SCORES.ravel().tolist()}]
    return json.dumps({"model_name": "digits", "outputs": listed if outputs is None else outputs, **more}).encode()


def test_a_question_in_json():
    asked = form(input="images").request(IMAGES, KEYS)
    question = json.loads(asked.content)
    assert asked.path == "/v2/models/digits/infer"
    assert asked.headers == {"Content-Type": "application/json"}
    assert set(question) == {"id", "inputs"}
    (tensor,) = question["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("images", [2, 3, 8, 6], "UINT8")
    assert tensor["data"] == IMAGES.ravel().tolist()
    assert json.loads(form().request(IMAGES[:1], KEYS[:1]).content)["id"] == "00aa"


def test_a_question_in_bytes():
    asked = form(binary=True).request(IMAGES, KEYS)
    length = int(asked.headers[LENGTH])
    question = json.loads(asked.content[:length])
    assert question["inputs"][0]["parameters"] == {"binary_data_size": IMAGES.nbytes}
    assert "data" not in question["inputs"][0]
    assert question["parameters"] == {"binary_data_output": True}
    assert asked.content[length:] == IMAGES.tobytes()
    assert asked.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("binary", [False, True])
def test_a_question_in_floats_in_the_models_layout(binary):
    chosen = form({"mean": [0.5], "std": [0.25]}, layout="NHWC", output="scores", model_version=3, binary=binary)
    asked = chosen.request(IMAGES, KEYS)
    length = int(asked.headers.get(LENGTH, len(asked.content)))
    question = json.loads(asked.content[:length])
    tensor = question["inputs"][0]
    expected = (IMAGES.transpose(0, 2, 3, 1).astype(np.float64) / 255 - 0.5) / 0.25
    sent = np.frombuffer(asked.content[length:], "<f4") if binary else np.array(tensor["data"])
    np.testing.assert_allclose(sent.reshape(2, 8, 6, 3), expected, rtol=1e-6, atol=1e-6)
    assert (tensor["shape"], tensor["datatype"]) == ([2, 8, 6, 3], "FP32")
    assert question["outputs"] == [{"name": "scores", **({"parameters": {"binary_data": True}} if binary else {})}]
    assert asked.path == "/v2/models/digits/versions/3/infer"


def test_flat_rows_resized_images_and_names_with_a_slash():
    question = json.loads(form(flatten=True).request(IMAGES, KEYS).content)
    assert question["inputs"][0]["shape"] == [2, 144]
    resized = form({"resize": 16, "model": "a/b c"}, datatype="FP32").request(IMAGES, KEYS)
    tensor = json.loads(resized.content)["inputs"][0]
    assert tensor["shape"] == [2, 3, 16, 16]
    assert 100 < max(tensor["data"]) <= 255
    assert resized.path == "/v2/models/a%2Fb%20c/infer"


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({"model": None}, {}, "teacher.model: found none"),
        ({"url": "http://host/v2/"}, {}, "teacher.url: it ends in /v2"),
        ({}, {"imput": "x"}, "Did you mean 'input'"),
        ({}, {"datatype": "INT8"}, "teacher.options.datatype: found 'INT8'"),
        ({"mean": [0.5]}, {"datatype": "UINT8"}, "teacher.options.datatype"),
        ({"mean": [0.5, 0.5]}, {}, "teacher.mean: found 2 values"),
        ({}, {"binary": "yes"}, "teacher.options.binary: found 'yes'"),
    ],
)
def test_settings_that_cannot_be_used(settings, options, words):
    with pytest.raises(UserError, match=words):
        form(settings, **options)


def test_the_fingerprint_knows_what_decides_the_answers_and_no_more():
    assert form(binary=True).options() == form().options()
    assert json.loads(json.dumps(form().options())) == form().options()
    changes = [
        {"input": "x"},
        {"output": "y"},
        {"datatype": "FP32"},
        {"layout": "NHWC"},
        {"flatten": True},
        {"model_version": "2"},
    ]
    assert len({json.dumps(form(**change).options(), sort_keys=True) for change in [{}, *changes]}) == 7
    assert form(model_version=2).options() == form(model_version="2").options()


def test_answers_are_read():
    plain = form()
    for body in (
        answer(),
        answer(id=None),
        answer([{"name": "s", "datatype": "FP64", "shape": [2, 3], "data": SCORES.tolist(), "parameters": None}]),
        answer(
            [
                {"name": "label", "datatype": "BYTES", "shape": [2, 1], "data": ["a", "b"]},
                *json.loads(answer())["outputs"],
            ]
        ),
        answer([{"name": "rows", "datatype": "INT64", "shape": [2], "data": [0, 1]}, *json.loads(answer())["outputs"]]),
    ):
        reply = plain.read(body, {}, KEYS)
        assert reply.malformed is None
        np.testing.assert_array_equal(reply.signals["logits"], SCORES)
    named = form(output="second").read(
        answer(
            [
                {"name": n, "datatype": "INT8", "shape": [2, 3], "data": [k] * 6}
                for k, n in enumerate(("first", "second"))
            ]
        ),
        {},
        KEYS,
    )
    np.testing.assert_array_equal(named.signals["logits"], np.ones((2, 3)))
    asked = json.loads(plain.request(IMAGES, KEYS).content)["id"]
    assert plain.read(answer(id=asked), {}, KEYS).malformed is None


def test_an_answer_in_bytes_and_one_in_json_though_bytes_were_asked_for():
    """As Triton writes it: a tensor of bytes behind one of text. A server without the extension answers in JSON."""
    text = b"\x02\0\0\0no\x03\0\0\0yes"
    head = answer(
        [
            {"name": "words", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(text)}},
            {"name": "scores", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}},
        ]
    )
    reply = form(binary=True).read(head + text + SCORES.tobytes(), {LENGTH.lower(): str(len(head))}, KEYS)
    np.testing.assert_array_equal(reply.signals["logits"], SCORES)
    np.testing.assert_array_equal(form(binary=True).read(answer(), {}, KEYS).signals["logits"], SCORES)


@given(st.sampled_from([*sorted(TYPES), "BF16"]), st.integers(1, 4), st.data())
def test_every_type_of_number_comes_back_as_it_was(datatype, rows, data):
    kind = np.dtype("<u4" if datatype == "BF16" else TYPES[datatype])
    raw = data.draw(st.binary(min_size=rows * 3 * kind.itemsize, max_size=rows * 3 * kind.itemsize))
    values = np.frombuffer(raw, dtype=kind)
    if datatype == "BOOL":
        values = np.frombuffer(raw, dtype="u1") > 127
    sent = values.tobytes()
    if datatype == "BF16":  # the upper halves of float32
        sent = (values >> 16).astype("<u2").tobytes()
        values = (values >> 16 << 16).view("<f4")
    head = answer(
        [{"name": "x", "datatype": datatype, "shape": [rows, 3], "parameters": {"binary_data_size": len(sent)}}]
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        reply = form().read(head + sent, {LENGTH: str(len(head))}, ["k"] * rows)
        expected = values.reshape(rows, 3).astype(np.float32)
    np.testing.assert_array_equal(reply.signals["logits"], expected)


def test_nan_spoils_its_row_alone_and_probabilities_become_logits():
    """Triton writes NaN as such, MLServer as null."""
    for missing in (None, float("nan")):
        body = answer([{"name": "s", "datatype": "FP32", "shape": [2, 3], "data": [1.0, missing, 3.0, 4.0, 5.0, 6.0]}])
        logits = form().read(body, {}, KEYS).signals["logits"]
        assert np.isnan(logits).tolist() == [[False, True, False], [False] * 3]
    shares = [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]
    body = answer([{"name": "s", "datatype": "FP32", "shape": [2, 3], "data": shares}])
    logits = form({"scores": "probabilities"}).read(body, {}, KEYS).signals["logits"]
    np.testing.assert_allclose(np.exp(logits), shares, atol=1e-6)


def one(**change) -> bytes:
    return answer([{"name": "scores", "datatype": "FP32", "shape": [2, 3], "data": [0.0] * 6, **change}])


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (answer()[:-20], {}, "not JSON"),
        (b"", {}, "not JSON"),
        (b"<html>502</html>", {}, "<html>502"),
        (b"[1]", {}, "not an object"),
        (answer(id="00bb"), {}, "answer to another request"),
        (b'{"error": "out of memory"}', {}, "out of memory"),
        (answer(model_version="2"), {}, "answered by version '2', asked of '1'"),
        (answer({}), {}, "no list of outputs"),
        (answer([]), {}, "no output of shape"),
        (one(shape=[2, 4]), {}, "6 values for shape"),
        (one(shape=[-2, -3]), {}, "shape"),
        (one(data=["1"] * 6), {}, "not numbers"),
        (one(data=[[1, 2, 3], [4, 5]]), {}, "not numbers in rows of one length"),
        (one(data=[[1, 2, 3], "abc"]), {}, "not numbers"),
        (one(data=None), {}, "no data"),
        (one(data=[1.0] * 5), {}, "5 values"),
        (one(parameters={"binary_data_size": 24}), {}, "24, but 0 bytes are left"),
        (
            one(parameters={"binary_data_size": 24}) + b"1" * 20,
            {LENGTH: str(len(one(parameters={"binary_data_size": 24})))},
            "20 bytes",
        ),
        (one() + b"tail", {LENGTH: str(len(one()))}, "4 bytes behind"),
        (one(), {LENGTH: "9999"}, LENGTH),
        (one(), {LENGTH: "-1"}, LENGTH),
        (one(), {LENGTH: "20"}, "not JSON"),
    ],
)
def test_answers_that_cannot_be_used(body, headers, words):
    reply = form(model_version=1).read(body, headers, KEYS)
    assert words in reply.malformed
    assert reply.raw == body
    assert not reply.signals


def test_two_outputs_that_fit_are_refused_until_one_is_named():
    (scores,) = json.loads(answer())["outputs"]
    both = answer([{**scores, "name": "embedding"}, scores])
    told = "2 outputs hold a number for each of the 3 classes, 'embedding', 'scores': set teacher.options.output"
    assert told in form().read(both, {}, KEYS).malformed
    np.testing.assert_array_equal(form(output="scores").read(both, {}, KEYS).signals["logits"], SCORES)
    assert "two outputs are named 'scores'" in form(output="scores").read(answer([scores] * 2), {}, KEYS).malformed
    offered = [{"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in ("embedding", "scores")]
    with pytest.raises(Stop, match=told):  # before anything is paid
        form().check(form().path, 200, metadata(outputs=offered))
    form(output="scores").check(form().path, 200, metadata(outputs=offered))
    form().check(
        form().path, 200, metadata(outputs=[*offered[:1], {"name": "x", "datatype": "BYTES", "shape": [-1, 3]}])
    )


def test_a_named_output_that_is_missing():
    assert "no output 'x'" in form(output="x").read(answer(), {}, KEYS).malformed


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "name": anything,
        "datatype": st.sampled_from(["FP32", "BF16", "BOOL", "BYTES", 3]),
        "shape": anything | st.lists(st.integers(-1, 4)),
        "data": anything,
        "parameters": anything | st.fixed_dictionaries({"binary_data_size": anything}),
    },
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "id": anything,
        "error": anything,
        "model_version": anything,
        "outputs": anything | st.lists(entries, max_size=3),
    },
)


@given(
    st.binary() | anything.map(lambda v: json.dumps(v).encode()) | answers.map(lambda v: json.dumps(v).encode()),
    st.binary(max_size=9),
)
def test_no_body_makes_reading_raise(body, tail):
    with np.errstate(all="ignore"):
        for chosen in (form(), form(output="scores", model_version=1), form({"scores": "probabilities"})):
            for headers in ({}, {LENGTH: str(len(body))}, {LENGTH: tail.decode("latin-1")}):
                reply = chosen.read(body + tail, headers, KEYS)
                assert (reply.malformed is None) == bool(reply.signals)


@given(st.binary() | answers.map(lambda v: json.dumps(v).encode()), st.sampled_from([200, 204, 400, 404, 500, 503]))
def test_no_metadata_makes_checking_raise_anything_but_stop(body, status):
    chosen = form(binary=True)
    for path in chosen.probes():
        with suppress(Stop):
            chosen.check(path, status, body)


def metadata(inputs: list | None = None, outputs: list | None = None) -> bytes:
    return json.dumps(
        {
            "name": "digits",
            "versions": ["1"],
            "platform": "python",
            "inputs": [{"name": "input", "datatype": "UINT8", "shape": [-1, 3, 8, 6]}] if inputs is None else inputs,
            "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}] if outputs is None else outputs,
        }
    ).encode()


def tensor(**change) -> dict:
    return {"name": "input", "datatype": "UINT8", "shape": [-1, 3, 8, 6], **change}


@pytest.mark.parametrize(
    ("options", "status", "body", "words"),
    [
        ({}, 404, b'{"error": "unknown model"}', "teacher.model: the server has no 'digits'; it says: 'unknown model'"),
        (
            {"model_version": 9},
            404,
            b'{"error": "no"}',
            "teacher.model or teacher.options.model_version.*'digits/versions/9'",
        ),
        ({}, 404, b'{"detail": "Not Found"}', "teacher.kind"),
        ({}, 404, b'{"error": {"message": "File Not Found"}}', "teacher.kind"),
        ({}, 404, b"<html>", "teacher.kind"),
        ({}, 200, b"<html>", "teacher.kind"),
        ({}, 200, b'{"object": "list", "data": []}', "teacher.kind"),
        ({"input": "x"}, 200, metadata(), r"teacher.options.input: the model has no input 'x'; it has input \(UINT8"),
        ({}, 200, metadata([tensor(datatype="FP32")]), "teacher.options.datatype.*FP32"),
        ({}, 200, metadata([tensor(shape=[-1, 8, 6, 3])]), "teacher.options.layout"),
        ({}, 200, metadata([tensor(shape=[-1, 144])]), "teacher.options.flatten"),
        ({}, 200, metadata([tensor(shape=[1, 3, 8, 6])]), "teacher.batch_size: found 2.*at most 1"),
        ({"output": "x"}, 200, metadata(), "teacher.options.output: the model has no output 'x'; it has scores"),
        ({}, 200, metadata(None, [{"name": "s", "datatype": "FP32", "shape": [-1, 100]}]), "data has 3 classes"),
        (
            {"output": "t"},
            200,
            metadata(None, [{"name": n, "shape": [-1, k]} for n, k in (("s", 3), ("t", 4))]),
            "data has 3 classes",
        ),
    ],
)
def test_metadata_that_stops(options, status, body, words):
    chosen = form(**options)
    with pytest.raises(Stop, match=words):
        chosen.check(chosen.path, status, body)


def test_metadata_that_fits_and_metadata_that_says_little():
    for chosen, body in (
        (form(), metadata()),
        (form(), metadata([tensor(shape=[3, 8, 6])])),
        (form(), metadata([tensor(shape=[-1, -1, -1, -1])])),
        (form(), metadata([tensor(shape=[2, 3, 8, 6])])),
        (form(layout="NHWC"), metadata([tensor(shape=[-1, 8, 6, 3])])),
        (form(flatten=True), metadata([tensor(shape=[-1, 144])])),
        (form(), metadata([], [])),
        (form(), metadata(None, [{"name": "rows", "shape": [-1, 1]}, {"name": "scores", "shape": [-1, 3]}])),
        (form(), b'{"name": "digits", "versions": null, "platform": ""}'),
    ):
        chosen.check(chosen.path, 200, body)
    form().check(form().path, 503, b"")


def test_binary_tensors_are_refused_where_the_server_is_known_to_have_none():
    assert form().probes() == ["/v2/models/digits"]
    chosen = form(binary=True)
    assert chosen.probes() == ["/v2/models/digits", "/v2"]
    chosen.check("/v2", 200, b'{"name": "triton", "extensions": ["binary_tensor_data"]}')
    chosen.check("/v2", 200, b'{"name": "kserve", "extensions": ["model_repository_extension"]}')
    chosen.check("/v2", 404, b"")
    with pytest.raises(Stop, match=r"teacher.options.binary: MLServer .* set it to false"):
        chosen.check("/v2", 200, b'{"name": "mlserver", "version": "1.7.1", "extensions": []}')

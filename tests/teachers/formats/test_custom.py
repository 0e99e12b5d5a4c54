"""The teachers of docs/your_teacher.md, taken out of it, against a real server; and what kind `http` says to a class that is none."""

import asyncio
import base64
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from support import loopback as lo
from support.loopback import Server

from tuition.errors import UserError
from tuition.params.teacher import KINDS, ServerSettings, TeacherSettings, teacher_settings
from tuition.teachers import Refused, Stop, Uncertain, load_teacher
from tuition.teachers.http.teacher import HttpTeacher

DOC = (Path(__file__).parents[3] / "docs" / "your_teacher.md").read_text()
FUNCTION, _, FORMAT = re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL)
SECTIONS = [YAML(typ="safe").load(one)["teacher"] for one in re.findall(r"```yaml\n(.*?)```", DOC, flags=re.DOTALL)]
OF_FUNCTION, OF_FORMAT = (next(one for one in SECTIONS if one["kind"] == kind) for kind in ("python", "http"))
DATA = {"channels": 1, "height": 8, "width": 8, "classes": ["a", "b", "c"], "mean": [0.1], "std": [0.3]}
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
KEYS = [f"{number:032x}" for number in range(16)]


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Writes `mine.py` into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_API_KEY", "abc123")

    def write(text: str) -> None:
        sys.modules.pop("mine", None)
        (tmp_path / "mine.py").write_text(text)

    yield write
    sys.path[:] = [one for one in sys.path if one != str(tmp_path)]


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def probabilities(image: np.ndarray) -> list[float]:
    raw = np.array([1.0, 1.0 + image[0, 0], 1.0 + image[-1, -1]])
    return (raw / raw.sum()).tolist()


def classify(change=lambda rows: rows):
    """The server of the document: an answer for each id, in an order of its own."""

    async def behave(server, request, writer) -> None:
        assert request.path == "/v2/classify"
        assert request.headers["authorization"] == "Bearer abc123"
        server.processed.append(request.headers["idempotency-key"])
        asked = json.loads(request.body)["images"]
        rows = [{"id": one["id"], "scores": probabilities(pixels(one["png"]))} for one in asked]
        writer.write(lo.whole(json.dumps({"answers": change(rows[::-1])}).encode()))

    return behave


def ask(teacher: HttpTeacher):
    async def run():
        async with teacher:
            return await asyncio.gather(*(teacher.answer(IMAGES[i : i + 8], KEYS[i : i + 8]) for i in (0, 8)))

    return asyncio.run(run())


def code_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def test_the_format_of_the_document(server, mine):
    mine(FORMAT)
    assert code_lines(FORMAT[FORMAT.index("class ") :]) <= 25
    settings = teacher_settings(**{**OF_FORMAT, "url": f"{server.url}/v2"})
    server.script.extend([lo.status(429), classify(), classify()])
    replies = ask(load_teacher(settings, DATA))
    said = np.concatenate([reply.signals["logits"] for reply in replies])
    np.testing.assert_allclose(said, np.log([probabilities(image[0]) for image in IMAGES]), rtol=1e-5)
    assert len(server.received) == 3
    assert len(server.processed) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows[1:], "ids that were not asked for"),
        (lambda rows: rows[1:] + rows[-1:], "ids that were not asked for"),
        (lambda rows: [{**row, "id": "x"} for row in rows], "ids that were not asked for"),
        (lambda rows: [{**row, "scores": "high"} for row in rows], "odd: ValueError"),
        (lambda rows: [7] * 8, "odd: TypeError"),
        (lambda rows: [{"id": row["id"]} for row in rows], "odd: KeyError"),
    ],
)
def test_answers_that_the_format_of_the_document_cannot_match(server, mine, change, why):
    mine(FORMAT)
    server.script.extend([classify(change)] * 2)
    for reply in ask(load_teacher(teacher_settings(**{**OF_FORMAT, "url": f"{server.url}/v2"}), DATA)):
        assert why in reply.malformed
        assert reply.signals == {}
        assert b"answers" in reply.raw


def test_half_of_an_answer_is_known_as_such_by_the_format_of_the_document(server, mine):
    async def half(server, request, writer) -> None:
        writer.write(lo.whole(b'{"answers": [{"id'))

    mine(FORMAT)
    server.script.append(half)
    server.script.extend([classify()] * 2)
    replies = ask(
        load_teacher(
            teacher_settings(**{**OF_FORMAT, "url": f"{server.url}/v2", "idempotent": True, "batch_size": 1}), DATA
        )
    )
    assert [reply.malformed for reply in replies] == [None, None]
    assert len(server.received) == 3


def test_the_function_of_the_document(server, mine):
    async def one(server, request, writer) -> None:
        assert request.headers["authorization"] == "Bearer abc123"
        server.processed.append(request.headers["idempotency-key"])
        writer.write(lo.whole(json.dumps({"scores": probabilities(pixels(json.loads(request.body)["png"]))}).encode()))

    mine(FUNCTION)
    assert code_lines(FUNCTION) <= 20
    teacher = load_teacher(teacher_settings(**OF_FUNCTION), DATA)
    import mine as module

    module.URL = f"{server.url}/classify"
    server.script.extend([one] * 3)
    said = teacher.answer_now(IMAGES[:3], KEYS[:3])["logits"]
    np.testing.assert_allclose(said, [probabilities(image[0]) for image in IMAGES[:3]])
    assert server.processed == KEYS[:3]
    server.script.extend([lo.status(429), lo.status(500)])
    with pytest.raises(Refused):
        teacher.answer_now(IMAGES[:1], KEYS[:1])
    with pytest.raises(Exception, match="500"):
        teacher.answer_now(IMAGES[:1], KEYS[:1])


def test_every_key_in_the_documents_table_exists_and_has_its_default():
    table = DOC[DOC.index("## Every key") : DOC.index("## What a failure")]
    rows = re.findall(r"^\| (`[^|]*)\|([^|]*)\|", table, flags=re.MULTILINE)
    named = {name: given for names, given in rows for name in re.findall(r"`(\w+)`", names)}
    fields = {key: field for section in KINDS.values() for key, field in section.model_fields.items()}
    assert set(named) <= set(fields)
    assert {"url", "timeout", "patience", "idempotent", "api_key_env", "max_in_flight"} <= set(named)
    for name, given in named.items():
        default, shown = fields[name].default, given.strip('` "')
        if shown and name not in ("recheck", "price", "cap"):
            words = (
                "none" if default is None else f"{default:g}" if isinstance(default, float) else str(default).lower()
            )
            assert shown == words, name


FULL = """
from tuition.teachers import HttpRequest, Reply, Stop

class Full:
    signals = ("logits", "embedding")
    authorization = ("X-Api-Key", "key {}")

    def __init__(self, settings, data):
        if settings.options.get("broken"):
            raise RuntimeError("no such thing")

    def options(self):
        return {"depth": 3}

    def probes(self):
        return ["/ready"]

    def check(self, path, status, body):
        if status != 200:
            raise Stop(f"teacher.model: {status}")

    def request(self, images, keys):
        return None if keys[0].endswith("f") else HttpRequest("/ask", b"")

    def read(self, body, headers, keys):
        return {"logits": 1}

class Bare:
    def __init__(self, *given): pass
    def request(self, images, keys): return HttpRequest("/ask", b"")
    def read(self, body, headers, keys): return Reply(malformed="always")
    def probes(self): return ["/ready"]

class Half:
    def request(self, images, keys): ...

class Odd(Bare):
    signals = "logits"

class Keyless(Bare):
    authorization = ("X-Api-Key", "none")

class Unwritable(Bare):
    def options(self): return {"a": {1, 2}}
"""


def of(named: str | None, url: str = "http://127.0.0.1:9", **more) -> TeacherSettings:
    return teacher_settings(**{"kind": "http", "url": url, "format": named, "patience": 1.0, **more})


async def first(server, request, writer) -> None:
    writer.write(lo.whole(b"anything"))


def test_what_a_class_may_say_of_itself(server, mine):
    mine(FULL)
    teacher = load_teacher(of("mine:Full", server.url, api_key_env="MY_API_KEY"), DATA)
    assert teacher.signals == teacher.families == ("logits", "embedding")
    assert teacher.description["options"] == {"format": "mine:Full", "depth": 3}
    server.script.extend([first] * 2)
    assert "read() returned dict, expected Reply" in ask(teacher)[0].malformed
    assert server.received[0].headers["x-api-key"] == "key abc123"
    assert "authorization" not in server.received[0].headers
    server.probes.append(lo.status(404))
    with pytest.raises(Stop, match=r"teacher\.model: 404"):
        ask(teacher)

    async def wrong():
        async with teacher:
            await teacher.answer(IMAGES[15:], KEYS[15:])

    with pytest.raises(Stop, match=r"teacher\.format: mine:Full: request\(\) returned NoneType, expected HttpRequest"):
        asyncio.run(wrong())


def test_what_a_class_leaves_out(server, mine):
    mine(FULL)
    teacher = load_teacher(of("mine:Bare", server.url, options={"a": 1}), DATA)
    assert teacher.description["options"] == {"format": "mine:Bare", "a": 1}
    assert teacher.signals == ("logits",)
    server.script.extend([first] * 2)
    assert ask(teacher)[0].malformed == "always"
    server.probes.append(lo.status(404))
    with pytest.raises(Stop, match=r"teacher\.url: its /ready answers 404"):
        ask(teacher)
    server.script.extend([lo.closes_before] * 2)
    with pytest.raises(Uncertain):
        ask(teacher)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (None, "needs 'module:Class'"),
        ("mine", "needs 'module:Class'"),
        ("mine:Full:x", "needs 'module:Class'"),
        ("nowhere_to_be_found:Full", "cannot import 'nowhere_to_be_found': ModuleNotFoundError"),
        ("mine:Ful", "'mine' has no class 'Ful'; it has: Bare, Full, Half, Keyless, Odd, Unwritable"),
        ("mine:Half", r"mine:Half has no read\(\)"),
        ("mine:Odd", "signals: found 'logits'; expected a tuple"),
        ("mine:Keyless", "authorization: expected"),
        ("mine:Unwritable", "options.. is not JSON"),
    ],
)
def test_classes_that_are_no_formats(mine, named, words):
    mine(FULL)
    with pytest.raises(UserError, match=f"teacher.format: .*{words}"):
        load_teacher(of(named), DATA)


def test_a_class_that_cannot_be_made(mine):
    mine(FULL)
    with pytest.raises(UserError, match=r"teacher\.format: mine:Full\(settings, data\): RuntimeError: no such thing"):
        load_teacher(of("mine:Full", options={"broken": True}), DATA)


def test_all_remote_kinds_are_in_the_document():
    assert all(f"`{kind}`" in DOC for kind, section in KINDS.items() if issubclass(section, ServerSettings))

"""How servers that are no chat models are asked about texts: as they were given, in each format's own way."""

import json

import pytest

from tuition.errors import UserError
from tuition.origins import objects
from tuition.params.teacher import teacher_settings
from tuition.teachers import Stop, load_teacher
from tuition.teachers.formats.mlflow import MlflowFormat
from tuition.teachers.formats.oip import OipFormat
from tuition.teachers.formats.tensors import LENGTH

DATA = {"inputs": "texts", "classes": ["good", "bad"], "characters": [1, 100]}
TEXTS = objects(["a “good” one\n", "e\u0301 🙂"])
KEYS = ["00aa", "00bb"]
OWN = """
import json
from tuition.teachers import HttpRequest, Reply

class Mine:
    def __init__(self, settings, data): pass
    def request(self, texts, keys):
        assert type(texts) is list and all(type(one) is str for one in texts)
        return HttpRequest("/ask", json.dumps(texts).encode())
    def read(self, body, headers, keys): return Reply()
"""


def settings(kind, options=None, **more):
    return teacher_settings(kind=kind, url="http://127.0.0.1:1", model="m", options=options or {}, **more)


@pytest.mark.parametrize(("flatten", "shape"), [(False, [2]), (True, [2, 1])])
def test_oip_sends_them_as_bytes(flatten, shape):
    asked = OipFormat(settings("oip", {"flatten": flatten}), DATA).request(TEXTS, KEYS)
    (tensor,) = json.loads(asked.content)["inputs"]
    assert tensor == {"name": "input", "shape": shape, "datatype": "BYTES", "data": TEXTS.tolist()}

    asked = OipFormat(settings("oip", {"flatten": flatten, "binary": True}), DATA).request(TEXTS, KEYS)
    length = int(asked.headers[LENGTH])
    (tensor,), tail = json.loads(asked.content[:length])["inputs"], asked.content[length:]
    assert tensor["shape"] == shape
    assert tensor["parameters"]["binary_data_size"] == len(tail)
    found = []
    while tail:
        size = int.from_bytes(tail[:4], "little")
        found.append(tail[4 : 4 + size].decode())
        tail = tail[4 + size :]
    assert found == TEXTS.tolist()


def test_oip_holds_them_against_what_the_model_takes():
    offered = {"name": "m", "platform": "p", "inputs": [{"name": "input", "datatype": "BYTES", "shape": [-1, 1]}]}
    OipFormat(settings("oip", {"flatten": True}), DATA).check("/v2/models/m", 200, json.dumps(offered).encode())
    offered["inputs"][0]["datatype"] = "FP32"
    with pytest.raises(Stop, match="BYTES would be sent"):
        OipFormat(settings("oip"), DATA).check("/v2/models/m", 200, json.dumps(offered).encode())
    for options in ({"datatype": "UINT8"}, {"layout": "NHWC"}):
        with pytest.raises(UserError, match=r"teacher.options.datatype: found .* texts are sent as BYTES"):
            OipFormat(settings("oip", options), DATA)


def test_mlflow_sends_a_list_or_a_column():
    question = json.loads(MlflowFormat(settings("mlflow"), DATA).request(TEXTS, KEYS).content)
    assert question == {"inputs": TEXTS.tolist()}
    frame = {"input": "dataframe"}
    for options, name in ((frame, "text"), ({**frame, "columns": ["body"]}, "body")):
        question = json.loads(MlflowFormat(settings("mlflow", options), DATA).request(TEXTS, KEYS).content)
        rows = [[text] for text in TEXTS]
        assert question == {"dataframe_split": {"columns": [name], "index": [0, 1], "data": rows}}


def test_a_format_of_ones_own_is_given_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_of_texts.py").write_text(OWN)
    teacher = load_teacher(settings("http", format="mine_of_texts:Mine"), DATA)
    assert json.loads(teacher.format.request(TEXTS, KEYS).content) == TEXTS.tolist()

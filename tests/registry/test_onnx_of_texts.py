"""A student of texts as ONNX: what lies beside the file makes its input, and ONNX Runtime answers as torch does."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from tuition.inputs import texts
from tuition.models import TOKENS, make
from tuition.origins import objects
from tuition.params import Student
from tuition.registry.model import export_graph
from tuition.registry.onnx_file import write_graph
from tuition.registry.predict import student_of_folder
from tuition.training.student import write_student

CLASSES = ["card lost", "Überweisung"]
ASKED = ["Where is my card?", "e\u0301 👩‍👩‍👧 naïve", "x" * 3000, "a", 'two\nlines, "quoted"', "and " * 200]


@pytest.fixture(params=["text-cnn", "ngram"])
def student(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A student with the weights that it begins with."""
    pool, tokens = objects(["where is the card", "a transfer that is late", *ASKED] * 3), TOKENS[request.param]
    reading = texts.own(pool, tokens, Student(vocabulary=400, max_tokens=30))
    about = {**reading, "arch": request.param, "taps": [], "classes": 2, "inputs": "texts", "class_names": CLASSES}
    torch.manual_seed(0)
    folder = tmp_path / "students/10-kd-0"
    write_student(folder, make(about).state_dict(), {}, [{"step": 0}], about)
    return folder


def tokens_by_what_lies_beside(folder: Path) -> np.ndarray:
    """What somebody makes who has the files and nothing of this project."""
    about = json.loads((folder / "mine.json").read_text(encoding="utf-8"))
    assert about["classes"] == CLASSES
    spec = importlib.util.spec_from_file_location("taken_along", folder / "tuition_texts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if about["tokens"] == "hashed":
        return module.numbers(objects(ASKED), about)
    file = folder / "mine.tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    cut = [text[: about["characters"]] for text in ASKED]
    rows = [tokenizer.encode(text, add_special_tokens=False).ids[: about["max_tokens"]] for text in cut]
    found = np.array([row + [0] * (max(map(len, rows)) - len(row)) for row in rows], np.int32)
    by_module = module.numbers(objects(ASKED), about | {"tokenizer": file.read_text(encoding="utf-8")})
    np.testing.assert_array_equal(by_module, found)
    return found


def test_the_files_are_enough_to_ask_it(student: Path, tmp_path: Path) -> None:
    graph = tmp_path / "student.pt2"
    export_graph(student, graph)
    told = write_graph(graph, {"inputs": "texts"}, tmp_path / "out/mine.onnx", "it")
    assert told["largest_difference"] < 1e-5
    assert "on batches of 1, 2, 3, 64 texts" in told["says"]
    assert {str(one) for one in (tmp_path / "out").iterdir()} == {told["file"], *told["beside"]}
    session = onnxruntime.InferenceSession(tmp_path / "out/mine.onnx", providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == CLASSES
    tokens = tokens_by_what_lies_beside(tmp_path / "out")
    expected = student_of_folder(student).answer(objects(ASKED))
    for rows in (slice(None), slice(1), slice(3, 4)):
        (found,) = session.run(["probabilities"], {"tokens": tokens[rows]})
        np.testing.assert_allclose(found, expected[rows], atol=1e-5)
    assert np.ptp(expected[:, 0]) > 1e-3  # or any graph would do

"""The champion as ONNX, answered by ONNX Runtime."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.registry import NAME, tuition
from support.small_study import NAMES, digits, logits_of, student

from tuition.registry import onnx_file


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_file_answers_as_the_student_does_for_any_batch(workspace: Path) -> None:
    ran = tuition("export", f"models:/{NAME}@champion", "out/student.onnx")
    assert ran.exit_code == 0, ran.output
    assert "largest difference of a probability to torch" in ran.stdout
    assert "on batches of 1, 2, 3, 64 images" in ran.stdout
    session = onnxruntime.InferenceSession("out/student.onnx", providers=["CPUExecutionProvider"])
    images = digits()[0][:500]
    expected = softmax(logits_of(student(20, 0)[0], images))
    for n in (1, 5, 500):
        (found,) = session.run(["probabilities"], {"images": images[:n]})
        assert (found.dtype, found.shape) == (np.float32, (n, 10))
        np.testing.assert_allclose(found, expected[:n], atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == NAMES
    onnx.checker.check_model(onnx.load("out/student.onnx"), full_check=True)
    assert [path.name for path in Path("out").iterdir()] == ["student.onnx"]


def test_a_file_whose_answers_differ_is_not_written(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("student.onnx").write_text("the old one")
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)  # below any difference
    ran = tuition("export", "champion", "student.onnx")
    assert ran.exit_code == 2
    assert "student.onnx: not written; ONNX Runtime's probabilities differ from torch's by " in ran.output
    assert Path("student.onnx").read_text() == "the old one"
    assert not list(Path().glob(".student*"))


def test_missing_packages_are_told_with_the_command(workspace: Path) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None  # as if it were not installed
from tuition.cli.__main__ import app
app(["export", "champion", "student.onnx"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert (
        "ONNX needs onnxruntime, not installed here: `uv sync --extra onnx`, or `pip install onnxruntime`"
        in done.stderr
    )


def test_a_folder_is_no_file(workspace: Path) -> None:
    ran = tuition("export", "champion", ".")
    assert (ran.exit_code, "a folder; name the file to write" in ran.output) == (2, True)

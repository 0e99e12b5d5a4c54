"""A registered student as an ONNX file, written only once ONNX Runtime has answered as torch does."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from tuition.errors import UserError
from tuition.files import atomic
from tuition.inputs.kinds import inputs_of
from tuition.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from torch.export import ExportedProgram

BATCHES = (1, 2, 3, 64)
TOLERANCE = 1e-4  # largest difference of a probability
OUTPUT = "probabilities"


class Written(TypedDict):
    file: str
    bytes: int
    largest_difference: float
    batches: list[int]
    says: str


def write_onnx(store: Store, version: "ModelVersion", target: Path) -> Written:
    """Write the student of `version` to `target`: what it takes, such as uint8 pixels `images` (N, C, H, W), →
    `probabilities` float32 (N, classes).

    The class names are the file's metadata `classes`, a JSON list. Returns {"bytes", "largest_difference", "batches", "says"}.
    Raises UserError where packages are missing, the student takes texts, the graph has no ONNX form, or the answers differ by more than
    `TOLERANCE`.
    """
    _check_packages()
    if target.is_dir():
        raise UserError(f"{target}: a folder; name the file to write, as in student.onnx")
    with tempfile.TemporaryDirectory() as scratch:
        program, about = _program(store, version, Path(scratch, "model"))
        kind, draft = inputs_of(about).NAME, Path(scratch, "student.onnx")
        if kind == "texts":
            raise UserError(
                f"version {version.version} of {version.name!r} takes texts, whose tokens no ONNX file makes; `mlflow models serve` serves "
                "it, and `mlflow.pyfunc.load_model` loads it without this project"
            )
        try:
            _convert(program, about, draft)
        except Exception as error:  # what has no ONNX form fails in many ways
            first = str(error).strip().partition("\n")[0]
            raise UserError(
                f"version {version.version} of {version.name!r} can't be written as ONNX ({first})"
            ) from error
        difference = _difference(program, draft, kind)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{target}: not written; ONNX Runtime's probabilities differ from torch's by {difference:.3g}, more than {TOLERANCE:g}"
            )
        with atomic(target) as file:
            file.write(draft.read_bytes())
    batches = ", ".join(str(n) for n in BATCHES)
    return {
        "file": str(target),
        "bytes": target.stat().st_size,
        "largest_difference": difference,
        "batches": list(BATCHES),
        "says": f"largest difference of a probability to torch {difference:.2g}, on batches of {batches} {kind}",
    }


def _convert(program: "ExportedProgram", about: dict[str, Any], draft: Path) -> None:
    import torch

    names: dict[str, Any] = {"input_names": [inputs_of(about).NAME], "output_names": [OUTPUT]}
    converted = torch.onnx.export(program, (), dynamo=True, verbose=False, **names, external_data=False)
    assert converted is not None
    converted.model.metadata_props["classes"] = json.dumps([str(one) for one in about["classes"]])
    converted.save(draft, external_data=False)


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}, not installed here: `uv sync --extra onnx`, or `pip install {' '.join(missing)}`"
        )


def _program(store: Store, version: "ModelVersion", scratch: Path) -> tuple["ExportedProgram", dict[str, Any]]:
    """The traced graph of a registered student, and what its metadata say: its classes and its kind of inputs."""
    import mlflow
    import torch
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(store.uri)
    uri = f"models:/{version.name}/{version.version}"
    scratch.mkdir()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(scratch)))
        model = mlflow.models.Model.load(str(folder))
        graph = folder / model.flavors["python_function"]["data"]
        about = dict(model.metadata or {})
        return torch.export.load(graph), {**about, "classes": about["classes"]}
    except (MlflowException, OSError, KeyError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{uri}: holds no student of Tuition's that can be read ({first})") from error


def _difference(program: "ExportedProgram", draft: Path, name: str) -> float:
    """The largest absolute difference between torch's and ONNX Runtime's answers to noise and to extremes."""
    import onnxruntime
    import torch

    student = program.module()
    session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])
    (example,), _ = program.example_inputs
    random, worst = np.random.default_rng(0), 0.0
    for count in BATCHES:
        samples = _noise(random, (count, *example.shape[1:]), torch.empty(0, dtype=example.dtype).numpy().dtype)
        samples[0] = samples.max() if count % 2 else 0
        with torch.inference_mode():
            expected = student(torch.from_numpy(samples)).numpy()
        (found,) = session.run([OUTPUT], {name: samples})
        if found.shape != expected.shape:
            return float("inf")
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def _noise(random: np.random.Generator, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Whole numbers over all of their type's range; others normal."""
    if kind.kind in "iu":
        return random.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    return random.normal(size=shape).astype(kind)

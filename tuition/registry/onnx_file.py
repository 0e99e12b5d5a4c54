"""A registered student as an ONNX file, written only once ONNX Runtime has answered as torch does."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from tuition.errors import UserError
from tuition.files import atomic
from tuition.inputs.kinds import inputs_of
from tuition.registry.onnx_beside import write_beside
from tuition.registry.tuition_student import FACTS
from tuition.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from torch import Tensor
    from torch.export import ExportedProgram

BATCHES = (1, 2, 3, 64)
LENGTHS = (1, 7, 40, 128)  # of texts in such batches, in tokens
TOLERANCE = 1e-4  # largest difference of a probability
OUTPUT = "probabilities"


class Written(TypedDict):
    file: str
    beside: list[str]
    bytes: int
    largest_difference: float
    batches: list[int]
    says: str


def write_onnx(store: Store, version: "ModelVersion", target: Path) -> Written:
    """Write the student of `version` to `target`, as `write_graph` does. Raises UserError where it cannot be read, too."""
    _check_packages()
    with tempfile.TemporaryDirectory() as scratch:
        graph, about = _graph(store, version, Path(scratch, "model"))
        return write_graph(graph, about, target, f"version {version.version} of {version.name!r}")


def write_graph(graph: Path, about: dict[str, Any], target: Path, what: str) -> Written:
    """Write a student's traced graph to `target`: uint8 pixels `images` (N, C, H, W), or int32 `tokens` (N, L) → `probabilities` float32
    (N, classes).

    `about`: its classes and its kind of inputs; `what` it is, in messages. The class names are the file's metadata `classes`, a JSON
    list. What makes tokens of texts is written beside it (`onnx_beside.py`). Raises UserError where packages are missing, the
    graph has no ONNX form, or the answers differ by more than `TOLERANCE`.
    """
    import torch

    _check_packages()
    if target.is_dir():
        raise UserError(f"{target}: a folder; name the file to write, as in student.onnx")
    known = {FACTS: ""}
    try:
        program = torch.export.load(graph, extra_files=known)
        about = {**json.loads(known[FACTS] or "{}"), **about}
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{what}: {_unreadable(error)}") from error
    if not about["classes"]:
        raise UserError(
            f"{what}: a student of retrieval, of which there is no ONNX file yet; MLflow loads it (docs/retrieval.md)"
        )
    inputs, name = inputs_of(about), inputs_of(about).EXPORTED
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch, "student.onnx")
        try:
            _convert(program, name, about["classes"], draft)
        except Exception as error:  # what has no ONNX form fails in many ways
            first = str(error).strip().partition("\n")[0]
            raise UserError(f"{what} can't be written as ONNX ({first})") from error
        difference = _difference(program, draft, name, about)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{target}: not written; ONNX Runtime's probabilities differ from torch's by {difference:.3g}, more than {TOLERANCE:g}"
            )
        beside = write_beside(target, inputs, about)
        with atomic(target) as file:
            file.write(draft.read_bytes())
    batches = ", ".join(str(n) for n in BATCHES)
    return {
        "file": str(target),
        "beside": [str(one) for one in beside],
        "bytes": target.stat().st_size,
        "largest_difference": difference,
        "batches": list(BATCHES),
        "says": f"largest difference of a probability to torch {difference:.2g}, on batches of {batches} {inputs.NAME}",
    }


def _convert(program: "ExportedProgram", name: str, classes: list[Any], draft: Path) -> None:
    import torch

    names: dict[str, Any] = {"input_names": [name], "output_names": [OUTPUT]}
    plain = torch.export.default_decompositions()
    plain[torch.ops.aten.embedding_bag.padding_idx] = (
        _mean_of_rows  # what torch would write, ONNX Runtime does not read
    )
    program = program.run_decompositions(plain) if _has_bags(program) else program
    converted = torch.onnx.export(program, (), dynamo=True, verbose=False, **names, external_data=False)
    assert converted is not None
    converted.model.metadata_props["classes"] = json.dumps([str(one) for one in classes])
    converted.save(draft, external_data=False)


def _has_bags(program: "ExportedProgram") -> bool:
    import torch

    return any(node.target is torch.ops.aten.embedding_bag.padding_idx for node in program.graph.nodes)


def _mean_of_rows(
    weight: "Tensor", indices: "Tensor", offsets: "Tensor", *settings: Any
) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """The mean embeddings of bags of equal size, without those of 0, the padding: as students of texts have them. The rest nobody reads."""
    from torch.nn import functional as F

    rows = indices.reshape(offsets.shape[0], -1)
    there = rows.ne(0).unsqueeze(-1)
    mean = (F.embedding(rows, weight) * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
    return mean, offsets, offsets, offsets


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}, not installed here: `uv sync --extra onnx`, or `pip install {' '.join(missing)}`"
        )


def _graph(store: Store, version: "ModelVersion", scratch: Path) -> tuple[Path, dict[str, Any]]:
    """The file of a registered student's traced graph, and what its metadata say: its classes and its kind of inputs."""
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(store.uri)
    uri = f"models:/{version.name}/{version.version}"
    scratch.mkdir()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(scratch)))
        model = mlflow.models.Model.load(str(folder))
        about = dict(model.metadata or {})
        return folder / model.flavors["python_function"]["data"], {**about, "classes": about["classes"]}
    except (MlflowException, OSError, KeyError) as error:
        raise UserError(f"{uri}: {_unreadable(error)}") from error


def _unreadable(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"holds no student of Tuition's that can be read ({first})"


def _difference(program: "ExportedProgram", draft: Path, name: str, about: dict[str, Any]) -> float:
    """The largest absolute difference between torch's and ONNX Runtime's answers to noise and to extremes.

    `about`: of tokens, how many there are (`vocabulary`), and how many a text may have (`max_tokens`).
    """
    import onnxruntime
    import torch

    student = program.module()
    session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])
    (example,), _ = program.example_inputs
    random, worst, vocabulary = np.random.default_rng(0), 0.0, about.get("vocabulary")
    for count, length in zip(BATCHES, LENGTHS, strict=True):
        shape = (count, min(length, about["max_tokens"])) if vocabulary else (count, *example.shape[1:])
        samples = _noise(random, shape, torch.empty(0, dtype=example.dtype).numpy().dtype, vocabulary)
        samples[0] = samples.max() if count % 2 else 0
        with torch.inference_mode():
            expected = student(torch.from_numpy(samples)).numpy()
        (found,) = session.run([OUTPUT], {name: samples})
        if found.shape != expected.shape:
            return float("inf")
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def _noise(random: np.random.Generator, shape: tuple[int, ...], kind: np.dtype, below: int | None) -> np.ndarray:
    """Whole numbers from 0 to `below`, or over all of their type's range; others normal."""
    if below is not None:
        return random.integers(0, below, shape, dtype=kind)
    if kind.kind in "iu":
        return random.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    return random.normal(size=shape).astype(kind)

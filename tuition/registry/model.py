"""A student as an MLflow model that loads without this project: preprocessing inside, any batch size, no pickle."""

import json
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of, named
from tuition.models import load_student
from tuition.models.description import ModelDescription
from tuition.registry import tuition_student

READING = ("tokens", "vocabulary", "max_tokens", "tokenizer")  # how a student of texts reads them
PROBABILITIES = "class probabilities (N, classes), a column a class"
EXAMPLES = 4  # more than one, or the trace takes the batch size for a constant


class FromStored(nn.Module):
    """Samples as they are stored (N, …) -> class probabilities float32 (N, classes), of a student of retrieval embeddings of length 1."""

    def __init__(self, student: nn.Module, preprocessing: nn.Module, embeds: bool = False) -> None:
        super().__init__()
        self.student, self.preprocessing, self.embeds = student, preprocessing, embeds

    def forward(self, samples: Tensor) -> Tensor:
        said = self.student(self.preprocessing(samples)).float()
        return nn.functional.normalize(said, dim=-1) if self.embeds else torch.softmax(said, dim=-1)


def export_graph(folder: Path, path: Path) -> ModelDescription:
    """Write the student in `folder` (students/<cell>) as a traced graph to `path`; returns its description.

    Raises UserError where the student's files are damaged, or torch cannot trace its architecture.
    """
    student, description = load_student(folder)
    inputs = inputs_of(description)
    whole = FromStored(student, inputs.preprocessing(description), "embedding" in description).eval()
    empty = inputs.numbers(inputs.empty(EXAMPLES, description), description)
    # No axis that may be of any length has length 1 here, or the trace takes that for a constant.
    samples = torch.from_numpy(
        np.resize(
            empty,
            [max(EXAMPLES, length) if axis in inputs.DYNAMIC else length for axis, length in enumerate(empty.shape)],
        )
    )
    axes = {axis: torch.export.Dim(f"axis{axis}" if axis else "batch") for axis in inputs.DYNAMIC}
    try:
        with torch.no_grad():
            program = torch.export.export(whole, (samples,), dynamic_shapes=(axes,))
    except Exception as error:  # what a library's model may not do in a trace fails in many ways
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder}: {description['arch']} cannot be traced for any batch size ({first})") from error
    facts = {
        "shape": list(inputs.shape(description)),
        "classes": columns(description),
        "receiver": inputs.receiver().stem,
        **{key: value for key, value in description.items() if key in READING},
    }
    torch.export.save(program, path, extra_files={tuition_student.FACTS: json.dumps(facts)})
    return description


def columns(description: ModelDescription) -> list[str]:
    """What a student's answer has a column for: its classes, or the numbers of its embedding."""
    names = range(description["embedding"]) if "embedding" in description else description["class_names"]
    return [str(name) for name in names]


def log_student(folder: Path, examples: np.ndarray) -> str:
    """Log the student to MLflow's active run; returns the logged model's URI.

    `examples` are some samples (n, …) of the study's data as they are stored, kept as the input example. The signature says nothing of
    inputs: MLflow would refuse all types and shapes but one, and cast a client's floats 0..1 to whole numbers.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "student.pt2")
        description = export_graph(folder, path)
        inputs = inputs_of(description)
        names = [str(name) for name in description["class_names"]]
        output = "embeddings of length 1 (N, d), a column a number" if "embedding" in description else PROBABILITIES
        signature = ModelSignature(outputs=Schema([ColSpec("float", name) for name in columns(description)]))
        logged = mlflow.pyfunc.log_model(
            name="student",
            loader_module=tuition_student.__name__.rpartition(".")[2],
            data_path=str(path),
            code_paths=[tuition_student.__file__, str(inputs.receiver())],
            signature=signature,
            input_example=inputs.handed(np.array(examples[:EXAMPLES])),
            pip_requirements=requirements(inputs.REQUIRES),  # given, since guessing them costs 20 s
            model_config={"device": "cpu"},
            metadata={
                "classes": names,
                "input": inputs.SERVED,
                "output": output,
                "shape": list(inputs.shape(description)),
                "arch": description["arch"],
                **named(inputs),
            },
        )
    return logged.model_uri


def requirements(further: Sequence[str]) -> list[str]:
    """What the model needs, `further` packages among it, pinned; torch without the build's suffix, which the public index does not know."""
    import mlflow

    return [
        f"mlflow=={mlflow.__version__}",
        *(f"{name}=={version(name)}" for name in ("numpy", "pandas", *further)),
        f"torch=={torch.__version__.partition('+')[0]}",
    ]

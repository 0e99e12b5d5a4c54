"""A student that writes texts as an MLflow model that loads without this project."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from tuition.files import read_json
from tuition.inputs import texts
from tuition.registry import tuition_writer
from tuition.registry.model import requirements
from tuition.workspace import Model

EXAMPLES = 4
REQUIRES = ("transformers", "tokenizers", "safetensors")
TASK = "generate"


def is_writer(folder: Path) -> bool:
    """Whether the student in a folder writes texts."""
    file = Model(folder).description
    return file.is_file() and "causal" in read_json(file)


def log_writer(folder: Path, examples: np.ndarray) -> str:
    """Log the student to MLflow's active run; returns the logged model's URI. `examples` (n,) are some prompts."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    files = Model(folder)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "writer")
        place.mkdir()
        for file in (files.weights, files.description, files.tokenizer):
            shutil.copyfile(file, place / file.name)
        logged = mlflow.pyfunc.log_model(
            name="student",
            loader_module=tuition_writer.__name__.rpartition(".")[2],
            data_path=str(place),
            code_paths=[tuition_writer.__file__],
            signature=ModelSignature(outputs=Schema([ColSpec("string", tuition_writer.ANSWER)])),
            input_example=[str(one) for one in examples[:EXAMPLES]],
            pip_requirements=requirements(REQUIRES),
            model_config={"device": "cpu", "max_new_tokens": 48},
            metadata={
                "task": TASK,
                "classes": [],
                "input": "prompts: one string, a list of them, or a table with them in its column `prompt`, or in its only one",
                "output": "texts, a table with the column `text`",
                "shape": [],
                "arch": read_json(files.description)["arch"],
                "inputs": texts.NAME,
            },
        )
    return logged.model_uri

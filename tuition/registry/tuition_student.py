"""Runs a registered student. MLflow copies this file into the model, and imports it from there by this name.

It needs torch, numpy and pandas, and nothing of this project. The student is a traced graph (`torch.export`): no class of this
project is unpickled. It computes on the CPU unless told otherwise:
`mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`.
"""

import importlib
import json
from typing import Any

import pandas as pd
import torch

BATCH = 1000  # samples at a time, so that a large request fits in memory
FACTS = "student.json"  # beside the graph in its file: shape of a sample, classes, and the module that reads what clients send


class Student:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, path: str, device: str) -> None:
        beside = {FACTS: ""}
        program = torch.export.load(path, extra_files=beside)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        facts = json.loads(beside[FACTS])
        self._shape, self._classes = tuple(facts["shape"]), facts["classes"]
        self._receiver = importlib.import_module(facts["receiver"])
        self._model = program.module()
        self._device = device

    def predict(self, samples: Any) -> pd.DataFrame:
        """Samples as the model's metadata `input` says -> class probabilities float32, a row a sample and a column a class.

        A table is taken by its column `image`, or by its only one. Raises ValueError for what is no such sample.
        """
        received = self._receiver.stored(_column(samples), self._shape)
        with torch.inference_mode():
            parts = [self._model(part.to(self._device)).cpu() for part in torch.from_numpy(received).split(BATCH)]
        return pd.DataFrame(torch.cat(parts).numpy(), columns=self._classes)


def _column(samples: Any) -> Any:
    """The samples of a table, as a list; what is none stays as it is."""
    if not isinstance(samples, pd.DataFrame):
        return samples.tolist() if isinstance(samples, pd.Series) else samples
    if "image" in samples.columns:
        return samples["image"].tolist()
    if len(samples.columns) != 1:
        names = ", ".join(str(name) for name in samples.columns[:6])
        raise ValueError(f"found a table with the columns {names}; expected one, image")
    return samples.iloc[:, 0].tolist()


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Student:
    return Student(path, (model_config or {}).get("device", "cpu"))

"""Runs a registered student. MLflow copies this file into the model, and imports it from there by this name.

It needs torch, numpy and pandas, and nothing of this project. The student is a traced graph (`torch.export`): no class of this
project is unpickled. It computes on the CPU unless told otherwise:
`mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`.
"""

import importlib
import json
from typing import Any

import numpy as np
import pandas as pd
import torch

BATCH = 1000  # samples at a time, so that a large request fits in memory
# Beside the graph in its file: shape of a sample, classes, the module that reads what clients send, and what that needs to know.
FACTS = "student.json"


class Student:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, path: str, device: str) -> None:
        beside = {FACTS: ""}
        program = torch.export.load(path, extra_files=beside)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        facts = json.loads(beside[FACTS])
        self._shape, self._classes, self._facts = tuple(facts["shape"]), facts["classes"], facts
        self._receiver = importlib.import_module(facts["receiver"])
        self._model = program.module()
        self._device = device

    def predict(self, samples: Any) -> pd.DataFrame:
        """Samples as the model's metadata `input` says -> class probabilities float32, a row a sample and a column a class.

        A table is taken by its column `image` or `text`, or by its only one. Raises ValueError for what is no such sample.
        """
        received = self._receiver.stored(_column(samples, self._receiver.COLUMN), self._shape)
        with torch.inference_mode():
            parts = [self._answer(received[start : start + BATCH]) for start in range(0, max(1, len(received)), BATCH)]
        return pd.DataFrame(torch.cat(parts).numpy(), columns=self._classes)

    def _answer(self, received: np.ndarray) -> torch.Tensor:
        numbers = torch.from_numpy(self._receiver.numbers(received, self._facts))
        return self._model(numbers.to(self._device)).cpu()


def _column(samples: Any, name: str) -> Any:
    """The samples of a table, as a list; what is none stays as it is."""
    if not isinstance(samples, pd.DataFrame):
        return samples.tolist() if isinstance(samples, pd.Series) else samples
    if name in samples.columns:
        return samples[name].tolist()
    if len(samples.columns) != 1:
        names = ", ".join(str(one) for one in samples.columns[:6])
        raise ValueError(f"found a table with the columns {names}; expected one, {name}")
    return samples.iloc[:, 0].tolist()


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Student:
    return Student(path, (model_config or {}).get("device", "cpu"))

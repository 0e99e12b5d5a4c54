"""Runs a registered student. MLflow copies this file into the model, and imports it from there by this name.

It needs torch and numpy and nothing of this project. The student is a traced graph (`torch.export`): no class of this
project is unpickled. It computes on the CPU unless told otherwise:
`mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`.
"""

from typing import Any

import numpy as np
import torch

BATCH = 1000  # samples at a time, so that a large request fits in memory


class Student:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, path: str, device: str) -> None:
        program = torch.export.load(path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        (example,), _ = program.example_inputs
        self._type = torch.empty(0, dtype=example.dtype).numpy().dtype
        self._model = program.module()
        self._device = device

    def predict(self, samples: Any) -> np.ndarray:
        """What the signature says (images: uint8 pixels 0..255 (N, C, H, W)) -> class probabilities float32 (N, classes)."""
        stored = torch.from_numpy(np.array(samples, dtype=self._type))
        with torch.inference_mode():
            parts = [self._model(part.to(self._device)).cpu() for part in stored.split(BATCH)]
        return torch.cat(parts).numpy()


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Student:
    return Student(path, (model_config or {}).get("device", "cpu"))

"""Runs a registered student. MLflow copies this file into the model, and imports it from there by this name.

It needs torch and numpy and nothing of this project. The student is a traced graph (`torch.export`): no class of this
project is unpickled. It computes on the CPU unless told otherwise:
`mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`.
"""

import warnings
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
        """What the signature says (images: uint8 pixels 0..255 (N, C, H, W)) -> class probabilities float32 (N, classes).

        Raises ValueError for numbers that are no such samples, and warns of pixels of which none is bright.
        """
        stored = torch.from_numpy(_stored(samples, self._type))
        with torch.inference_mode():
            parts = [self._model(part.to(self._device)).cpu() for part in stored.split(BATCH)]
        return torch.cat(parts).numpy()


def _stored(samples: Any, kind: np.dtype) -> np.ndarray:
    """The samples as the student takes them, where that changes no number: as uint8, 12 bits would wrap around, and 0..1 become black."""
    given = np.asarray(samples)
    stored = given.astype(kind)  # a copy: torch takes none that may not be written to
    if kind.kind in "ui" and not np.array_equal(stored, given):
        expected = "uint8 pixels, where 255 is white" if kind == np.uint8 else str(kind)
        raise ValueError(f"found {given.dtype} from {given.min()} to {given.max()}; expected {expected}")
    if kind == np.uint8 and stored.size and stored.max() <= 1:  # a server makes such of numbers in 0..1
        warnings.warn("no pixel is brighter than 1, where 255 is white; were they scaled to 0..1?", stacklevel=3)
    return stored


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Student:
    return Student(path, (model_config or {}).get("device", "cpu"))

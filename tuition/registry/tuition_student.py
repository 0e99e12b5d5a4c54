"""Runs a registered student. MLflow copies this file into the model, and imports it from there by this name.

It needs torch and numpy and nothing of this project. The student is a traced graph (`torch.export`): no class of this
project is unpickled. It computes on the CPU unless told otherwise:
`mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`.
"""

import warnings
from typing import Any

import numpy as np
import torch

BATCH = 1000  # images at a time, so that a large request fits in memory


class Student:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, path: str, device: str) -> None:
        program = torch.export.load(path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        self._model = program.module()
        self._device = device

    def predict(self, images: Any) -> np.ndarray:
        """uint8 pixels 0..255 (N, C, H, W) -> class probabilities float32 (N, classes).

        Raises ValueError for numbers that are no such pixels, and warns where none of them is bright.
        """
        pixels = torch.from_numpy(_pixels(images))
        with torch.inference_mode():
            parts = [self._model(part.to(self._device)).cpu() for part in pixels.split(BATCH)]
        return torch.cat(parts).numpy()


def _pixels(images: Any) -> np.ndarray:
    """The images as uint8, where that changes no number: 12 bits would wrap around, and 0..1 become black."""
    given = np.asarray(images)
    pixels = given if given.dtype == np.uint8 else given.astype(np.uint8)
    if pixels is not given and not np.array_equal(pixels, given):
        raise ValueError(
            f"found {given.dtype} from {given.min()} to {given.max()}; expected uint8 pixels, where 255 is white"
        )
    if pixels.size and pixels.max() <= 1:  # a server makes such of numbers in 0..1
        warnings.warn("no pixel is brighter than 1, where 255 is white; were they scaled to 0..1?", stacklevel=3)
    return np.array(pixels)  # torch takes none that may not be written to


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Student:
    return Student(path, (model_config or {}).get("device", "cpu"))

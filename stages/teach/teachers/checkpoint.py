"""kind `checkpoint`: a local model (ours, timm's or torchvision's) with its weights in a file; on the GPU where there is one."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.arrays import read_json
from stages.errors import UserError
from stages.models import build, load_weights, signals
from stages.models.preprocess import to_float
from stages.models.weights import read_state


class CheckpointTeacher:
    """A model in eval mode. Its answers are a function of weights, architecture and preprocessing: asking again is free."""

    signals = ("logits", "embedding")
    idempotent = True

    def __init__(self, model: torch.nn.Module, description: dict[str, Any], precision: str, classes: int):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(self.device).to(memory_format=torch.channels_last)
        self.description, self.classes, self.half = description, classes, precision == "bf16-mixed"
        self.mean, self.std = (torch.tensor(description[key], device=self.device) for key in ("mean", "std"))

    @torch.inference_mode()
    def answer(self, images: np.ndarray, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
        x = to_float(torch.from_numpy(images).to(self.device), self.mean, self.std, self.description["resize"])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            given = signals(self.model, x.to(memory_format=torch.channels_last))
        return {name: value.float().cpu().numpy() for name, value in given.items()}


def load(settings: Any, data: dict[str, Any]) -> CheckpointTeacher:
    """The teacher of `teacher.weights`: a file, or the folder that the pretrain stage makes.

    Raises UserError where the file is missing, damaged, holds code, does not fit `teacher.arch`, or knows another number of
    classes than the data has.
    """
    path = Path(settings.weights)
    made = read_json(path / "meta.json") if path.is_dir() else {}
    if path.is_dir():
        path = path / "weights.safetensors"
    classes, size = len(data["classes"]), (data["height"], data["width"])
    if settings.resize:
        size = (settings.resize, settings.resize)
    model = build(settings.arch, channels=data["channels"], classes=classes, size=size)
    state = read_state(path)
    _check_classes(model, state, classes, path)
    load_weights(model, path)
    description = {
        "kind": "checkpoint",
        "arch": settings.arch,
        "weights": _weights_digest(state),
        "mean": list(settings.mean or made.get("mean") or data["mean"]),
        "std": list(settings.std or made.get("std") or data["std"]),
        "resize": settings.resize,
        "precision": settings.precision,
    }
    for key in ("mean", "std"):
        if len(description[key]) not in (1, data["channels"]):
            raise UserError(
                f"teacher.{key}: found {len(description[key])} values, the data has {data['channels']} channels"
            )
    return CheckpointTeacher(model, description, settings.precision, classes)


def _check_classes(model: torch.nn.Module, state: dict[str, Tensor], classes: int, path: Path) -> None:
    head: Any = model.get_classifier()  # type: ignore[operator]
    name = next(key for key, parameter in model.named_parameters() if parameter is head.weight)
    found = state.get(name)
    if found is not None and found.ndim == 2 and found.shape[1] == head.in_features and len(found) != classes:
        raise UserError(f"{path}: this teacher knows {len(found)} classes, but the data has {classes}")


def _weights_digest(state: dict[str, Tensor]) -> str:
    """The sha256 over names, types, shapes and bytes: the same weights in another file are the same teacher."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()

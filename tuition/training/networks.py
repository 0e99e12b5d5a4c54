"""Networks from their descriptions, and what they say by shape: for training, and for trying methods before anything is paid."""

from typing import Any

import torch

from tuition.models import build, signals


def of(model: dict[str, Any], arch: str | None) -> dict[str, Any]:
    """`model`, or one of another architecture for the same images; taps name modules of their own architecture alone."""
    return model if arch in (None, model["arch"]) else {**model, "arch": arch, "taps": []}


def make(model: dict[str, Any]) -> torch.nn.Module:
    """A student with fresh weights, as `model` (from `describe`) says."""
    size = (model["height"], model["width"])
    return build(model["arch"], channels=model["channels"], classes=model["classes"], size=size, taps=model["taps"])


@torch.no_grad()
def shapes(student: torch.nn.Module, model: dict[str, Any], maps: bool) -> dict[str, tuple[int, ...]]:
    """The shape a sample of each of the student's signals."""
    image = torch.zeros(1, model["channels"], model["height"], model["width"])
    found = signals(student.eval(), image, maps)
    student.train()
    return {name: tuple(value.shape[1:]) for name, value in found.items()}

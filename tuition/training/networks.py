"""Networks from their descriptions, and what they say by shape: for training, and for trying methods before anything is paid."""

import torch

from tuition.inputs.images.batch import empty_input
from tuition.models import build, signals
from tuition.models.description import NetworkDescription
from tuition.models.network import Network


def of(model: NetworkDescription, arch: str | None) -> NetworkDescription:
    """`model`, or one of another architecture for the same images; taps name modules of their own architecture alone."""
    return model if arch is None or arch == model["arch"] else {**model, "arch": arch, "taps": []}


def make(model: NetworkDescription) -> Network:
    """A student with fresh weights, as `model` (from `describe`) says."""
    size = (model["height"], model["width"])
    return build(model["arch"], channels=model["channels"], classes=model["classes"], size=size, taps=model["taps"])


@torch.no_grad()
def shapes(student: Network, model: NetworkDescription, maps: bool) -> dict[str, tuple[int, ...]]:
    """The shape a sample of each of the student's signals."""
    image = empty_input(1, channels=model["channels"], height=model["height"], width=model["width"])
    student.eval()
    found = signals(student, image, maps)
    student.train()
    return {name: tuple(value.shape[1:]) for name, value in found.items()}

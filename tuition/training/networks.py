"""Networks from their descriptions, and what they say by shape: for training, and for trying methods before anything is paid."""

from collections.abc import Sequence

import torch

from tuition.inputs.kinds import inputs_of
from tuition.models import signals
from tuition.models.description import NetworkDescription
from tuition.models.network import Network


def of(model: NetworkDescription, arch: str | None) -> NetworkDescription:
    """`model`, or one of another architecture for the same inputs; taps name modules of their own architecture alone."""
    return model if arch is None or arch == model["arch"] else {**model, "arch": arch, "taps": []}


@torch.no_grad()
def shapes(
    student: Network, model: NetworkDescription, maps: bool, inside: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """The shape a sample of each of the student's signals."""
    inputs = inputs_of(model)
    stored = torch.from_numpy(inputs.numbers(inputs.empty(1, model), model))
    sample = inputs.arranged(inputs.preprocessing(model)(stored))
    student.eval()
    found = signals(student, sample, maps, inside)
    student.train()
    return {name: tuple(value.shape[1:]) for name, value in found.items()}

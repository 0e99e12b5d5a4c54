"""Networks from their descriptions, and what they say by shape: for training, and for trying methods before anything is paid."""

from collections.abc import Sequence

import numpy as np
import torch

from tuition.inputs.bought import Bought
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Samples
from tuition.models import signals
from tuition.models.description import ModelDescription, NetworkDescription
from tuition.models.network import Network

BATCH = 500  # samples that a student is asked about at a time


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


@torch.inference_mode()
def logits_of(network: Network, model: ModelDescription, samples: Samples | Bought, count: int) -> np.ndarray:
    """What a network that is in eval mode says of the first `count` stored samples (N, …): logits (count, C) float32."""
    inputs = inputs_of(model)
    preprocessing = inputs.preprocessing(model)
    parts = []
    for start in range(0, count, BATCH):
        rows = np.arange(start, min(start + BATCH, count))
        stored = torch.from_numpy(inputs.numbers(np.array(samples[rows]), model))
        parts.append(network(preprocessing(stored)).float().numpy())
    return np.concatenate(parts)

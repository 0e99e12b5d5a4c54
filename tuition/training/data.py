"""What one training learns from, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TrainingSet:
    """n samples with all that a student learns of them.

    inputs (n, …) as stored (images: (n, C, H, W) uint8), labels (n,) int64, teacher {signal: (n, …)}. Without `augment` samples are seen
    as they are, neither cropped nor flipped at random. `members` (M, k) make every batch of whole groups; `weights` (k,) float32 are one
    group's, with `members` or alone for comparisons within each batch.
    `constants`, `mixed`, `others` and `present` are as in `tuition.methods.Context`. `rest`: M samples that were not bought,
    `inputs` (M, …) as stored, `weight` (M,) float32, `labels` (M,) int64, −1 where unknown, `estimated` (M, C) float16, the teacher's
    estimated probabilities, where there are any, and `share` (M,) float32, what the label has of the target beside them.
    """

    inputs: np.ndarray
    labels: np.ndarray
    teacher: Arrays = field(default_factory=dict)
    augment: bool = True
    members: np.ndarray | None = None
    weights: np.ndarray | None = None
    constants: Arrays = field(default_factory=dict)
    mixed: Arrays = field(default_factory=dict)
    others: Mapping[str, Arrays] = field(default_factory=dict)
    present: Arrays = field(default_factory=dict)
    rest: Arrays = field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by a name of its own: what a run learns from is told apart by them."""
        groups = {name: array for name in ("members", "weights") if (array := getattr(self, name)) is not None}
        named: dict[str, Arrays] = {
            name: getattr(self, name) for name in ("teacher", "constants", "mixed", "present", "rest")
        }
        named |= {f"others/{name}": answers for name, answers in self.others.items()}
        flat = {f"{name}/{key}": array for name, arrays in named.items() for key, array in arrays.items()}
        return {"inputs": self.inputs, "labels": self.labels, **groups, **flat}


def place(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor of its own on the device."""
    return torch.from_numpy(np.array(array)).to(device)


def place_all(arrays: Arrays, device: torch.device) -> dict[str, Tensor]:
    return {key: place(values, device) for key, values in arrays.items()}

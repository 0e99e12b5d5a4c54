"""What passes from the loader to the student and its method."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tuition.losses.comparisons import Groups


class Batch(NamedTuple):
    """B samples as a step sees them. Everything of the teacher's is constant: no gradient reaches it.

    images (B, C, H, W) float32 normalised, labels (B,) int64, teacher {signal: (B, …)} float32 (packed bits stay uint8),
    groups or None, rows (B,) int64 of the bought samples, `step` from 0, and a `generator` on the images' device that is
    seeded by (seed, step): what a method draws comes from it, so that a run that was killed draws the same again.
    For a method that reads several teachers, `others` {name: {signal: (B, …)}} and `present` {name: (B,) bool} as in `Facts`.
    `extra` is what a method's `augment` hands on to its `forward`; `augment` may append images after the first B.
    """

    images: Tensor
    labels: Tensor
    teacher: dict[str, Tensor]
    groups: Groups | None
    rows: Tensor
    step: int
    generator: torch.Generator
    extra: dict[str, Any]
    others: dict[str, dict[str, Tensor]]
    present: dict[str, Tensor]

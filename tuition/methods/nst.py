"""`nst`: neuron selectivity transfer (Huang and Wang 2017, arXiv 1707.01219 [code]).

Loss: weight · Σ_layers mean_batch MMD²(student's channels, teacher's channels), a channel being its map over positions as a vector of
length one, with the kernel (x·y)². Widths may differ; where sizes differ the larger map is average-pooled first.

Two equal ways to compute it [ours, tested against each other]: with A (c_s, p) and B (c_t, p) the channels of one sample,
MMD² = ‖AAᵀ‖²/c_s² + ‖BBᵀ‖²/c_t² − 2‖ABᵀ‖²/(c_s c_t) = ‖AᵀA/c_s − BᵀB/c_t‖². The one with the smaller matrices is taken.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.layers import paired, same_size
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative


class NST(nn.Module):
    source, evidence = "arXiv 1707.01219", "code"
    signals: tuple[str, ...] = ("map",)
    maps = True
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 50.0):
        super().__init__()
        self.weight = weight

    def setup(self, context: Context) -> None:
        self.pairs = paired(context.student, context.teacher)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        loss = student["logits"].new_zeros(())
        with torch.autocast(loss.device.type, enabled=False):  # in bfloat16 the three parts would not cancel
            for ours, theirs in self.pairs:
                loss = loss + discrepancy(student[ours], batch.teacher[theirs].detach())
        return {"teacher": self.weight * loss}


def discrepancy(student: Tensor, teacher: Tensor) -> Tensor:
    """MMD² of the channels of maps (B, c, h, w), the mean over the batch."""
    student, teacher = same_size(student, teacher)
    ours, theirs = (F.normalize(one.flatten(2), dim=2) for one in (student, teacher))
    positions, wide, wide_t = ours.shape[2], ours.shape[1], theirs.shape[1]
    if 2 * positions**2 <= wide**2 + wide * wide_t + wide_t**2:
        return by_positions(ours, theirs)
    return by_channels(ours, theirs)


def by_positions(ours: Tensor, theirs: Tensor) -> Tensor:
    gap = ours.mT @ ours / ours.shape[1] - theirs.mT @ theirs / theirs.shape[1]
    return gap.square().sum((1, 2)).mean()


def by_channels(ours: Tensor, theirs: Tensor) -> Tensor:
    kernel = [(a @ b.mT).square().mean((1, 2)) for a, b in ((ours, ours), (theirs, theirs), (ours, theirs))]
    return (kernel[0] + kernel[1] - 2 * kernel[2]).mean()

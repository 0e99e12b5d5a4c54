"""Losses on maps that also work on differences of maps: FitNet and VID, alone and inside Comparative KD.

The student's map first goes through a head to the teacher's shape; the gap to the teacher's is then taken sample by sample, or group
by group. Differences are linear, so the difference of gaps is the gap of differences.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.comparisons import Groups, difference
from tuition.losses.layers import connector, same_size

VARIANCE = 5.0  # of VID at the start, in every channel
LEAST_VARIANCE = 1e-5


def mean_squares(gap: Tensor, groups: Groups | None = None) -> Tensor:
    """Mean square (…) of gaps (B, …) over samples, or of their differences over groups whose weights sum to zero.

    Over *every* group of the batch it is Σw² · the variance of the gaps [ours, see `comparisons.difference_mse`], so nothing
    of the size of groups × map is made; listed groups are fewer than the batch's samples.
    """
    if groups is None:
        return gap.square().mean(0)
    if groups.every:
        return groups.square_sum * gap.var(dim=0, correction=1)
    return difference(gap.flatten(1), groups).square().mean(0).view(gap.shape[1:])


class Hint(nn.Module):
    """FitNet's term: MSE of the student's map, through a 1×1 convolution and batch norm, and the teacher's."""

    def __init__(self, wide_in: int, wide_out: int):
        super().__init__()
        self.head = connector(wide_in, wide_out)

    def forward(self, student: Tensor, teacher: Tensor, groups: Groups | None = None) -> Tensor:
        student, teacher = same_size(student, teacher.detach())
        return mean_squares(self.head(student).to(teacher.dtype) - teacher, groups).mean()


class Variational(nn.Module):
    """VID's term: ½[(μ(F^s) − F^t)²/σ² + log σ²], with σ² learned for each of the teacher's channels."""

    def __init__(self, wide_in: int, wide_out: int):
        super().__init__()
        self.head = nn.Sequential(
            nn.Conv2d(wide_in, wide_out, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(wide_out, wide_out, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(wide_out, wide_out, 1, bias=False),
        )
        self.scale = nn.Parameter(torch.full((wide_out,), math.log(math.expm1(VARIANCE - LEAST_VARIANCE))))

    def forward(self, student: Tensor, teacher: Tensor, groups: Groups | None = None) -> Tensor:
        student, teacher = same_size(student, teacher.detach())
        squares = mean_squares(self.head(student).to(teacher.dtype) - teacher, groups)  # (c, h, w)
        variance = (F.softplus(self.scale) + LEAST_VARIANCE)[:, None, None]
        return 0.5 * (squares / variance + variance.log()).mean()

"""`reviewkd`: knowledge review (Chen et al. 2021, arXiv 2104.09044 [code]).

From the deepest of the student's levels, its embedding as a map of one place and then its maps, to the shallowest, each is fused with
what came from the deeper ones: a 1×1 convolution and batch norm give x (min(512, the embedding's width) channels); the deeper y is
enlarged to its size; two attention maps, the sigmoid of a 1×1 convolution of both, weigh them: f = a_1·x + a_2·y. f goes on, and its 3×3
convolution and batch norm to the teacher's channels is compared with the teacher's level (its embedding, its maps before their
activation) by the hierarchical context loss HCL: the mean of MSEs of both as they are and average-pooled to 4×4, 2×2 and 1×1 (those
that are smaller), weighted 1, 1/2, 1/4, 1/8. Loss: min(epoch / warmup, 1) · weight · Σ_levels HCL, epochs counted from 1.
`weight` is by pair, as released for CIFAR-100: 5 for most (the default), 1 for resnet110 → resnet32, 0.6 for resnet56 → resnet20, 8 for
ShuffleNetV2 students. `on: map` takes the teacher's maps after their activation, for a teacher that gives no others.
Ours: where the sizes differ the larger map is average-pooled; the release first enlarges or thins f out to the teacher's size.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.layers import paired, same_size
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative

WIDEST = 512
SCALES = (4, 2, 1)


class Fusion(nn.Module):
    """A map (B, wide_in, h, w) and, unless it is the deepest, what the deeper ones gave (B, wide, h', w')."""

    def __init__(self, wide_in: int, wide: int, wide_out: int, deepest: bool):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(wide_in, wide, 1, bias=False), nn.BatchNorm2d(wide))
        self.attention = None if deepest else nn.Conv2d(2 * wide, 2, 1)
        self.leave = nn.Sequential(nn.Conv2d(wide, wide_out, 3, padding=1, bias=False), nn.BatchNorm2d(wide_out))
        for convolution in (self.enter[0], self.leave[0]):
            nn.init.kaiming_uniform_(convolution.weight, a=1)  # type: ignore[arg-type]  # as released

    def forward(self, x: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """To compare with the teacher's (B, wide_out, h, w), and to hand on to the shallower map (B, wide, h, w)."""
        x = self.enter(x)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, x.shape[-2:], mode="nearest")
            weights = self.attention(torch.cat([x, deeper], 1)).sigmoid()
            x = weights[:, :1] * x + weights[:, 1:] * deeper
        return self.leave(x), x


class ReviewKD(nn.Module):
    source, evidence = "arXiv 2104.09044", "code"
    signals: tuple[str, ...] = ("preact", "embedding")  # an instance's own follow its setting `on`
    maps = True
    label_use = "needed"

    def __init__(
        self, *, weight: NotNegative = 5.0, warmup: NotNegative = 20.0, on: Literal["preact", "map"] = "preact"
    ):
        super().__init__()
        self.weight, self.warmup, self.on = weight, warmup, on
        self.signals = (on, "embedding")

    def setup(self, context: Context) -> None:
        self.per_epoch = context.per_epoch
        pairs = paired(context.student, context.teacher, self.on)
        self.levels = [("embedding", "embedding"), *pairs[::-1]]  # deep → shallow
        wide = min(WIDEST, context.student["embedding"][0])
        self.fusions = nn.ModuleList(
            Fusion(context.student[ours][0], wide, context.teacher[theirs].shape[1], deepest=not place)
            for place, (ours, theirs) in enumerate(self.levels)
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        loss, deeper = student["logits"].new_zeros(()), None
        for fuse, (ours, theirs) in zip(self.fusions, self.levels, strict=True):
            given, deeper = fuse(as_level(student[ours]), deeper)
            wanted = as_level(batch.teacher[theirs].detach())
            loss = loss + hierarchical(*same_size(given.to(wanted.dtype), wanted))
        share = min((1 + batch.step // self.per_epoch) / self.warmup, 1.0) if self.warmup else 1.0
        return {"teacher": share * self.weight * loss}


def as_level(value: Tensor) -> Tensor:
    """A map (B, c, h, w) as it is, an embedding (B, d) as one of a single place."""
    return value if value.ndim == 4 else value[:, :, None, None]


def hierarchical(student: Tensor, teacher: Tensor) -> Tensor:
    """HCL of maps (B, c, h, w)."""
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for scale in SCALES:
        if scale < min(student.shape[-2:]):
            weight /= 2
            total += weight
            ours, theirs = F.adaptive_avg_pool2d(student, scale), F.adaptive_avg_pool2d(teacher, scale)
            loss = loss + weight * F.mse_loss(ours, theirs)
    return loss / total

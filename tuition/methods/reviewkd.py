"""`reviewkd`: knowledge review (Chen et al. 2021, arXiv 2104.09044 [code]).

From the deepest of the student's maps to the shallowest, each is fused with what came from the deeper ones: a 1×1 convolution and batch
norm give x (min(512, the student's last width) channels); the deeper y is enlarged to its size; two attention maps, the sigmoid of a 1×1
convolution of both, weigh them: f = a_1·x + a_2·y. f goes on, and its 3×3 convolution and batch norm to the teacher's channels is
compared with the teacher's map by the hierarchical context loss HCL: the mean of MSEs of both maps as they are and average-pooled to
4×4, 2×2 and 1×1 (those that are smaller than the map), weighted 1, 1/2, 1/4, 1/8. Loss: weight · Σ_layers HCL.
Ours: the teacher's embedding is no level of its own (the last pooled scale of the last map is its equal where the embedding is the
average of the map), and the weight does not rise over the first epochs as in the released code. Where the sizes differ the larger map
is average-pooled.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.layers import connector, paired, same_size
from tuition.methods.protocol import Batch, Context
from tuition.methods.ranges import NotNegative

WIDEST = 512
SCALES = (4, 2, 1)


class Fusion(nn.Module):
    """A map (B, wide_in, h, w) and, unless it is the deepest, what the deeper ones gave (B, wide, h', w')."""

    def __init__(self, wide_in: int, wide: int, wide_out: int, deepest: bool):
        super().__init__()
        self.enter = connector(wide_in, wide)
        self.attention = None if deepest else nn.Conv2d(2 * wide, 2, 1)
        self.leave = nn.Sequential(nn.Conv2d(wide, wide_out, 3, padding=1, bias=False), nn.BatchNorm2d(wide_out))

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
    signals: tuple[str, ...] = ("map",)
    maps = True

    def __init__(self, *, weight: NotNegative = 1.0):
        super().__init__()
        self.weight = weight

    def setup(self, context: Context) -> None:
        self.pairs = paired(context.student, context.teacher)[::-1]  # deep → shallow
        wide = min(WIDEST, context.student[self.pairs[0][0]][0])
        self.fusions = nn.ModuleList(
            Fusion(context.student[ours][0], wide, context.teacher[theirs].shape[1], deepest=not place)
            for place, (ours, theirs) in enumerate(self.pairs)
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        loss, deeper = student["logits"].new_zeros(()), None
        for fuse, (ours, theirs) in zip(self.fusions, self.pairs, strict=True):
            given, deeper = fuse(student[ours], deeper)
            wanted = batch.teacher[theirs].detach()
            loss = loss + hierarchical(*same_size(given.to(wanted.dtype), wanted))
        return {"teacher": self.weight * loss}


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

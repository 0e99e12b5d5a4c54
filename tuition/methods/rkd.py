"""`rkd`: Relational Knowledge Distillation (arXiv 1904.05068, CVPR 2019 [code]).

Loss: CE + weight_distance · mean_ij H(d^s_ij, d^t_ij) + weight_angle · mean_ijk H(a^s_ijk, a^t_ijk), H the Huber loss
(δ = 1), d the Euclidean distance over the mean of the positive ones, a_ijk the cosine of the angle at sample i between
j and k. Means run over all B² and B³ entries, the trivial ones too.
`on`: the penultimate `embedding`, or `logits`: the comparative baseline of arXiv 2311.02253 is `rkd+kd` with `on:
logits` [code].
Ours differs in memory [ours]: angles come from Gram matrices, not from (B, B, d) differences, and for B > 128 from a
few anchors i at a time, computed again in the backward pass, so O(B²). Angles at two samples of one place count as 0.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tuition.losses.relations import cosines_at, distances, full_precision
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative

ENTRIES = 128**3  # of the angles that are held at once


class RKD(nn.Module):
    source, evidence = "arXiv 1904.05068, eq. 4-8", "code"
    signals: tuple[str, ...] = ("embedding",)  # an instance's own follow its setting `on`
    label_use = "needed"

    def __init__(
        self,
        *,
        weight_distance: NotNegative = 25.0,
        weight_angle: NotNegative = 50.0,
        on: Literal["embedding", "logits"] = "embedding",
    ):
        super().__init__()
        self.weight_distance, self.weight_angle, self.on = weight_distance, weight_angle, on
        self.signals = (on,)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours, theirs = student[self.on], batch.teacher[self.on].detach()
        with full_precision(ours):
            apart, apart_teacher = distances(ours), distances(theirs)
            terms = {}
            if self.weight_distance:
                unlike = F.smooth_l1_loss(_over_mean(apart), _over_mean(apart_teacher))
                terms["distance"] = self.weight_distance * unlike
            if self.weight_angle:
                terms["angle"] = self.weight_angle * _angles(_shape(ours, apart), _shape(theirs, apart_teacher))
            return terms


def _over_mean(apart: Tensor) -> Tensor:
    positive = (apart > 0).sum().clamp(min=1)
    return apart / (apart.sum() / positive).clamp(min=torch.finfo(apart.dtype).tiny)


def _shape(x: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
    """The Gram matrix of the centred samples (smaller numbers cancel less), and 1 / distance, 0 where the distance is 0."""
    x = x - x.mean(0)
    there = apart > 0
    return x @ x.T, torch.where(there, 1 / torch.where(there, apart, 1), 0)


def _angles(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Tensor:
    size = len(ours[0])
    step = max(1, ENTRIES // size**2)
    if step >= size:
        return _unlike(slice(0, size), *ours, *theirs) / size**3
    parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
    sums = [checkpoint(_unlike, part, *ours, *theirs, use_reentrant=False, preserve_rng_state=False) for part in parts]
    return torch.stack(sums).sum() / size**3


def _unlike(anchors: slice, gram: Tensor, inverse: Tensor, gram_teacher: Tensor, inverse_teacher: Tensor) -> Tensor:
    theirs = cosines_at(anchors, gram_teacher, inverse_teacher)
    return F.smooth_l1_loss(cosines_at(anchors, gram, inverse), theirs, reduction="sum")

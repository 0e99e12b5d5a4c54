"""`fsp`: flow of the solution procedure (Yim et al. 2017, CVPR; the form of the field's common benchmark, arXiv 1910.10699 [code]).

In the first `share` of the steps only this trains: weight · Σ_l mean (G_l^s − G_l^t)², G_l (c_l, c_{l+1}) the inner products of the
channels of neighbouring maps over positions, divided by their number, the larger map average-pooled to the smaller; l counts from the
stem, whose map is the first one's neighbour. After that cross-entropy alone trains; it is the term `labels`, zero before. The weight is
1 as released: the benchmark's published 50 is one of its second stage, in which this loss has no part.
The paper max-pools; so did we once, from the first stage on and with the weight 50. What was bought for that (`gram`) is not used.

Flows have the networks' widths on both sides: teacher and student must have the same. Sizes may differ. Where one of them has no known
stem (taps, timm, torchvision), the flows between stages are compared.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.labelled import cross_entropy
from tuition.losses.layers import initial_steps
from tuition.methods.protocol import Batch, Context
from tuition.models.maps import flow
from tuition.ranges import NotNegative
from tuition.signals import arrays_of


class FSP(nn.Module):
    source, evidence = "Yim et al., CVPR 2017", "code"
    signals: tuple[str, ...] = ("flow",)
    maps = True
    inside = ("stem",)
    weight_ce = 0.0
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0, share: NotNegative = 0.3):
        super().__init__()
        self.weight, self.share = weight, share
        initial_steps("fsp", share, 0)  # refuses a wrong share before anything is built

    def setup(self, context: Context) -> None:
        self.first = initial_steps("fsp", self.share, context.steps)
        maps, flows = arrays_of("map", context.student), arrays_of("flow", context.teacher)
        maps = [name for name in ("stem",) if name in context.student] + maps
        count = min(len(maps) - 1, len(flows))
        if count < 1:
            raise UserError(f"fsp: needs two maps of both; the student has {len(maps)}, the teacher {len(flows)} pairs")
        below, above = maps[-count - 1 : -1], maps[-count:]
        self.flows = list(zip(below, above, flows[-count:], strict=True))
        ours = [context.student[name][0] for name in maps[-count - 1 :]]
        wide = [context.teacher[name].shape for name in flows[-count:]]
        theirs = [wide[0][1], *(shape[2] for shape in wide)]
        if ours != theirs:
            raise UserError(
                f"fsp: the student's last maps are {', '.join(map(str, ours))} channels wide, the teacher's "
                f"{', '.join(map(str, theirs))}; they must be the same (resnet32 and resnet8, or another method)"
            )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = student["logits"]
        loss = logits.new_zeros(())
        if batch.step >= self.first:
            return {"teacher": loss, "labels": cross_entropy(logits, batch.labels)}
        for below, above, theirs in self.flows:
            loss = loss + F.mse_loss(flow(student[below], student[above]), batch.teacher[theirs].detach())
        return {"teacher": self.weight * loss, "labels": torch.zeros_like(loss)}

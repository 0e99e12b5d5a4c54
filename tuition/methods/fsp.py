"""`fsp`: flow of the solution procedure (Yim et al. 2017, CVPR [code]).

In the first `share` of the steps only this trains: weight · Σ_l mean (G_l^s − G_l^t)², G_l (c_l, c_{l+1}) the inner products of the
channels of neighbouring stages over positions, divided by their number, the larger map max-pooled to the smaller. After that
cross-entropy alone trains; it is the term `labels`, zero before. (RepDistiller average-pools; the paper and the bought `gram` signal
max-pool.)

Grams have the networks' widths on both sides: teacher and student must have the same. Sizes may differ.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.layers import initial_steps
from tuition.methods.protocol import Batch, Context
from tuition.methods.ranges import NotNegative
from tuition.models.maps import gram
from tuition.signals import arrays_of


class FSP(nn.Module):
    source, evidence = "Yim et al., CVPR 2017", "code"
    signals: tuple[str, ...] = ("gram",)
    maps = True
    weight_ce = 0.0

    def __init__(self, *, weight: NotNegative = 50.0, share: NotNegative = 0.3):
        super().__init__()
        self.weight, self.share = weight, share
        initial_steps("fsp", share, 0)  # refuses a wrong share before anything is built

    def setup(self, context: Context) -> None:
        self.first = initial_steps("fsp", self.share, context.steps)
        maps, grams = arrays_of("map", context.student), arrays_of("gram", context.teacher)
        count = min(len(maps) - 1, len(grams))
        if count < 1:
            raise UserError(
                f"fsp: needs two stages of both; the student has {len(maps)}, the teacher {len(grams)} pairs"
            )
        below, above = maps[-count - 1 : -1], maps[-count:]
        self.flows = list(zip(below, above, grams[-count:], strict=True))
        ours = [context.student[name][0] for name in maps[-count - 1 :]]
        wide = [context.teacher[name].shape for name in grams[-count:]]
        theirs = [wide[0][1], *(shape[2] for shape in wide)]
        if ours != theirs:
            raise UserError(
                f"fsp: the student's last stages are {', '.join(map(str, ours))} channels wide, the teacher's "
                f"{', '.join(map(str, theirs))}; they must be the same (resnet32 and resnet8, or another method)"
            )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = student["logits"]
        loss = logits.new_zeros(())
        if batch.step >= self.first:
            return {"teacher": loss, "labels": F.cross_entropy(logits, batch.labels)}
        for below, above, theirs in self.flows:
            loss = loss + F.mse_loss(gram(student[below], student[above]), batch.teacher[theirs].detach())
        return {"teacher": self.weight * loss, "labels": torch.zeros_like(loss)}

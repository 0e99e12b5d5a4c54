"""`vid`: variational information distillation (Ahn et al. 2019, arXiv 1904.05835 [code]).

Loss: weight · Σ_layers mean ½[(μ(F^s) − F^t)²/σ² + log σ²]: the negative log-likelihood of the teacher's map, up to a constant, under a
Gaussian whose mean is three 1×1 convolutions of the student's and whose variance is learned for each channel, 5 at the start.
Where sizes differ the larger map is average-pooled first. The loss may fall below zero: log σ² has no bound but σ² ≥ 1e-5.
"""

from torch import Tensor, nn

from tuition.losses.features import Variational
from tuition.losses.layers import paired
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative


class VID(nn.Module):
    source, evidence = "arXiv 1904.05835", "code"
    signals: tuple[str, ...] = ("map",)
    maps = True
    one_place = True
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0):
        super().__init__()
        self.weight = weight

    def setup(self, context: Context) -> None:
        self.pairs = paired(context.student, context.teacher)
        self.layers = nn.ModuleList(
            Variational(context.student[ours][0], context.teacher[theirs].shape[1]) for ours, theirs in self.pairs
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        loss = student["logits"].new_zeros(())
        for layer, (ours, theirs) in zip(self.layers, self.pairs, strict=True):
            loss = loss + layer(student[ours], batch.teacher[theirs])
        return {"teacher": self.weight * loss}

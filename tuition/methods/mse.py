"""`mse`: regression on the teacher's logits (arXiv 1312.6184, Ba & Caruana 2014 [mem]).

Loss: CE + weight · mean over samples and classes of (d_ic)², d = z^s − z^t.
`centred: true` takes each class's mean over the batch from d first: the control of `ckd-mse` [ours], for over all pairs
of a batch of B the mean of ((s_i − s_j) − (t_i − t_j))² is exactly 2B / (B − 1) times that.
"""

from torch import Tensor, nn

from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative


class LogitMSE(nn.Module):
    source, evidence = "arXiv 1312.6184", "mem"
    signals: tuple[str, ...] = ("logits",)
    label_use = "used"

    def __init__(self, *, weight: NotNegative = 1.0, centred: bool = False):
        super().__init__()
        self.weight, self.centred = weight, centred

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        gap = student["logits"] - batch.teacher["logits"].detach()
        if self.centred:
            gap = gap - gap.mean(0)
        return {"teacher": self.weight * gap.square().mean()}

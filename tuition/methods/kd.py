"""`kd`: knowledge distillation (Hinton et al. 2015, arXiv 1503.02531). Loss: w_ce · CE + w_kd · KD_T [code, RepDistiller's weights]."""

from torch import Tensor, nn

from tuition.losses.divergence import kd
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class KD(nn.Module):
    source, evidence = "arXiv 1503.02531", "code"
    signals: tuple[str, ...] = ("logits",)
    weight_ce = 0.1
    label_use = "used"

    def __init__(self, *, temperature: Positive = 4.0, weight_kd: NotNegative = 0.9):
        super().__init__()
        self.temperature, self.weight_kd = temperature, weight_kd

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        return {"teacher": self.weight_kd * kd(student["logits"], batch.teacher["logits"], self.temperature)}

"""`kd`: knowledge distillation (Hinton et al. 2015, arXiv 1503.02531). Loss: w_ce · CE + w_kd · KD_T [code, RepDistiller's weights]."""

from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.divergence import kd
from stages.train.ranges import NotNegative, Positive


class KD(nn.Module):
    signals: tuple[str, ...] = ("logits",)
    compares = False

    def __init__(self, *, temperature: Positive = 4.0, weight_ce: NotNegative = 0.1, weight_kd: NotNegative = 0.9):
        super().__init__()
        self.temperature, self.weight_ce, self.weight_kd = temperature, weight_ce, weight_kd

    def forward(
        self, student: dict[str, Tensor], teacher: dict[str, Tensor], labels: Tensor, groups: None
    ) -> dict[str, Tensor]:
        return {
            "labels": self.weight_ce * F.cross_entropy(student["logits"], labels),
            "teacher": self.weight_kd * kd(student["logits"], teacher["logits"], self.temperature),
        }

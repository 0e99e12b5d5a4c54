"""`ckd-kl`: Comparative Knowledge Distillation, softened differences (arXiv 2311.02253; the 2023 release, k = 3 [code]).

Loss: w_labels · labels term + w_relation · KD_T(Δs ‖ Δt), T = 4, on differences of raw logits. The KL form has no closed form over
all groups [ours]: in-batch comparisons are a few per sample.
`labels`: `difference` KD_T(Δs ‖ Δy) of one-hot labels, as released; `ce` plain cross-entropy, as in the paper's text; `none`.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.comparisons import Groups, difference, one_hot
from stages.train.divergence import kd
from stages.train.ranges import NotNegative, Positive


class CKDKL(nn.Module):
    signals: tuple[str, ...] = ("logits",)
    compares = True

    def __init__(
        self,
        *,
        labels: Literal["difference", "ce", "none"] = "difference",
        weight_labels: NotNegative = 1.0,
        weight_relation: NotNegative = 1.0,
        temperature: Positive = 4.0,
    ):
        super().__init__()
        self.labels, self.weight_labels, self.weight_relation = labels, weight_labels, weight_relation
        self.temperature = temperature

    def forward(
        self, student: dict[str, Tensor], teacher: dict[str, Tensor], labels: Tensor, groups: Groups
    ) -> dict[str, Tensor]:
        logits = student["logits"]
        ours = difference(logits, groups)
        terms = {"relation": self.weight_relation * kd(ours, difference(teacher["logits"], groups), self.temperature)}
        if self.labels == "difference":
            target = difference(one_hot(labels, logits), groups)
            terms["labels"] = self.weight_labels * kd(ours, target, self.temperature)
        elif self.labels == "ce":
            terms["labels"] = self.weight_labels * F.cross_entropy(logits, labels)
        return terms

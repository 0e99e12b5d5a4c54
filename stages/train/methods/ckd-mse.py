"""`ckd-mse`: Comparative Knowledge Distillation, squared differences (arXiv 2311.02253, WACV 2025; the 2025 release [code]).

Loss: w_labels · labels term + w_relation · MSE(Δs, Δt) on raw logits. With in-batch comparisons the mean over *all* groups of
the batch is exact in O(B·C) [ours], where it equals mean-centred logit regression. A loss on differences alone leaves one common
offset of the logits unidentified [ours].
`labels`: `difference` MSE(Δs, Δy) of one-hot labels, as released; `ce` plain cross-entropy, as in the paper's text; `none`.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.comparisons import Groups, difference_mse, one_hot
from stages.train.ranges import NotNegative


class CKDMSE(nn.Module):
    signals: tuple[str, ...] = ("logits",)
    compares = True

    def __init__(
        self,
        *,
        labels: Literal["difference", "ce", "none"] = "difference",
        weight_labels: NotNegative = 1.0,
        weight_relation: NotNegative = 1.0,
    ):
        super().__init__()
        self.labels, self.weight_labels, self.weight_relation = labels, weight_labels, weight_relation

    def forward(
        self, student: dict[str, Tensor], teacher: dict[str, Tensor], labels: Tensor, groups: Groups
    ) -> dict[str, Tensor]:
        logits = student["logits"]
        terms = {"relation": self.weight_relation * difference_mse(logits, teacher["logits"].detach(), groups)}
        if self.labels == "difference":
            terms["labels"] = self.weight_labels * difference_mse(logits, one_hot(labels, logits), groups)
        elif self.labels == "ce":
            terms["labels"] = self.weight_labels * F.cross_entropy(logits, labels)
        return terms

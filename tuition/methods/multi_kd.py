"""`multi-kd`: KD from several teachers (You et al. 2017 [abs]; with assistants Son et al. 2021, arXiv 2009.08825 [code]).

Of each sample i, teacher k (`teacher` and those of `teachers`) has said logits t_ki, or nothing that can be used: m_ki = 0.
`combine: probabilities`: p̄_i = Σ_k w_k m_ki softmax(t_ki / T) / Σ_k w_k m_ki, and the loss weight · T² · mean_i KL(p̄_i ‖ softmax(s_i / T)):
the mean of the softened outputs (doi 10.1145/3097983.3098135, whose triplets of intermediate layers are left out).
`combine: losses`: weight · T² · mean_i Σ_k w_k m_ki KL(softmax(t_ki / T) ‖ softmax(s_i / T)), as densely guided KD teaches from the teacher
and all assistants at once. Its gradient is that of the first times Σ_k w_k m_ki: what differs is the scale, which grows with the number
of teachers, and that a sample of which one said nothing counts for less.
Either beside weight_ce · CE. A teacher that said nothing of a sample is left out of that sample; where that leaves none, or only
such that weigh nothing, it is not distilled.

Settings: `weights` {name: w}, by default 1 each; `teacher` is the name of the section `teacher`. T = 4 and 0.1 · CE + 0.9 · KD are those of
`kd` here [ours]; the code of 2021 has T = 5, no CE, and its KL is a mean over classes, too.
Left out: densely guided KD drops one of the losses at random in each batch, and trains its assistants the same way. That is a study
for each of them here, largest first, whose student is one of `teachers` in the next.
Price: 1 call a sample, and 1 more of each of `teachers`.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive
from tuition.signals import MAIN


class MultiKD(nn.Module):
    source, evidence = "doi 10.1145/3097983.3098135, arXiv 2009.08825", "abs"
    signals: tuple[str, ...] = ("logits",)
    weight_ce = 0.1
    several = True
    label_use = "used"

    def __init__(
        self,
        *,
        combine: Literal["probabilities", "losses"] = "probabilities",
        weights: dict[str, float] | None = None,
        temperature: Positive = 4.0,
        weight: NotNegative = 0.9,
    ):
        super().__init__()
        wrong = {name: one for name, one in (weights or {}).items() if not (one >= 0 and math.isfinite(one))}
        if wrong:
            raise UserError(
                f"params.yaml: methods.multi-kd.weights: found {wrong}, expected numbers that are not negative"
            )
        self.combine, self.weights, self.temperature, self.weight = combine, weights or {}, temperature, weight

    def setup(self, context: Context) -> None:
        if not context.others:
            raise UserError(
                "multi-kd: found the answers of one teacher alone; list further ones in params.yaml: teachers"
            )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours = F.log_softmax(student["logits"] / self.temperature, dim=1)
        said = [(MAIN, batch.teacher["logits"]), *((name, given["logits"]) for name, given in batch.others.items())]
        theirs = torch.stack(
            [F.log_softmax(logits.detach() / self.temperature, dim=1) for _, logits in said]
        )  # (K, B, C)
        share = torch.stack([self._share(name, batch, ours) for name, _ in said])  # (K, B)
        if self.combine == "losses":
            each = (share * F.kl_div(ours.expand_as(theirs), theirs, reduction="none", log_target=True).sum(2)).sum(0)
        else:
            total = share.sum(0)
            mean = (share[:, :, None] * theirs.exp()).sum(0) / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None]
            each = F.kl_div(ours, mean, reduction="none").sum(1)
        return {"teacher": self.weight * self.temperature**2 * each.mean()}

    def _share(self, name: str, batch: Batch, like: Tensor) -> Tensor:
        """w_k m_ki (B,) of a teacher."""
        there = like.new_ones(len(like)) if name == MAIN else batch.present[name].to(like.dtype)
        return self.weights.get(name, 1.0) * there

"""`dkd`: Decoupled Knowledge Distillation (arXiv 2203.08679, CVPR 2022 [code]).

KL(p^t ‖ p^s) at temperature T splits into the target against all other classes, and the other classes among themselves:
Loss: min(epoch / warmup, 1) · T² · mean[α · KL(b^t ‖ b^s) + β · KL(p̂^t ‖ p̂^s)], b = (p_y, 1 − p_y), p̂ = p without
class y, renormalised. α = 1, and β by pair, as released for CIFAR-100: 8 (the default) of resnet32x4, 6 of vgg13 and
of wrn_40_2, 2 of resnet56 → resnet20 and resnet110 → resnet32. Epochs count from 1, as in the released
trainer; `warmup: 0` turns the warm-up off.
Ours differs in one point [ours]: the logarithms of both parts come from one log-sum-exp over the other classes, where
the released code subtracts 1000 from the target's logit; so large logits lose nothing. α = 1 and β = 1 − p^t_y would
give back plain KD. Of a sample without a label the target is the teacher's top class [ours].
"""

import torch
from torch import Tensor, nn

from tuition.losses.labelled import known_or
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive


class DKD(nn.Module):
    source, evidence = "arXiv 2203.08679, eq. 7", "code"
    signals: tuple[str, ...] = ("logits",)
    label_use = "used"

    def __init__(
        self,
        *,
        alpha: NotNegative = 1.0,
        beta: NotNegative = 8.0,
        temperature: Positive = 4.0,
        warmup: NotNegative = 20.0,
    ):
        super().__init__()
        self.alpha, self.beta, self.temperature, self.warmup = alpha, beta, temperature, warmup
        self.per_epoch = 1

    def setup(self, context: Context) -> None:
        self.per_epoch = context.per_epoch

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        teacher = batch.teacher["logits"].detach()
        labels = known_or(batch.labels, teacher)
        target = torch.zeros_like(student["logits"], dtype=torch.bool).scatter_(1, labels[:, None], True)
        ours, ours_both = _parts(student["logits"] / self.temperature, labels, target)
        theirs, theirs_both = _parts(teacher / self.temperature, labels, target)
        scale = self.temperature**2 / len(ours)
        if self.warmup:
            scale *= min((1 + batch.step // self.per_epoch) / self.warmup, 1.0)
        of_target = (theirs_both.exp() * (theirs_both - ours_both)).sum()
        of_others = (theirs.exp().masked_fill(target, 0) * (theirs - ours)).sum()
        return {"target": self.alpha * scale * of_target, "others": self.beta * scale * of_others}


def _parts(scores: Tensor, labels: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of scores (B, C): log p̂ (B, C), to be used outside the target only, and log b (B, 2)."""
    others = scores.masked_fill(target, -torch.inf).logsumexp(1, keepdim=True)
    both = torch.cat([scores.gather(1, labels[:, None]), others], 1).log_softmax(1)
    # The target's own entry is made harmless: its exponential must not overflow before it is masked.
    return (scores - others).masked_fill(target, 0), both

"""`mix-cached`: the ablation of MixKD (arXiv 2011.00593, 2021) that asks the teacher nothing about mixed inputs [ours].

B mixed images x̃ = λ·x_i + (1 − λ)·x_j, λ ~ Beta(α, α) a sample and j a permutation, go beside the B clean ones. Loss: CE(clean) +
w_mixup · CE(s(x̃), λ·y_i + (1 − λ)·y_j) + w_teacher · [KD_T(s(x) ‖ t(x)) + KD_T(s(x̃) ‖ λ·t_i + (1 − λ)·t_j)].
The target is the mix of cached logits where MixKD pays for t(x̃): a linear guess at a teacher that is not linear. It costs no call,
and is not MixKD (`mixkd`).
"""

import torch
from torch import Tensor, nn

from tuition.losses.divergence import kd
from tuition.losses.mixing import all_known, draw_rows, draw_shares, mix, mixed_labels, soft_cross_entropy
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class MixCached(nn.Module):
    source, evidence = "arXiv 2011.00593", "ours"
    signals: tuple[str, ...] = ("logits",)
    inputs = ("images",)
    label_use = "used"

    def __init__(
        self,
        *,
        alpha: Positive = 1.0,
        temperature: Positive = 4.0,
        weight_mixup: NotNegative = 1.0,
        weight_teacher: NotNegative = 1.0,
    ):
        super().__init__()
        self.alpha, self.temperature = alpha, temperature
        self.weight_mixup, self.weight_teacher = weight_mixup, weight_teacher

    def augment(self, batch: Batch) -> Batch:
        rows = draw_rows(len(batch.labels), 2, batch.generator)
        shares = draw_shares(len(rows), 2, self.alpha, batch.generator)
        images = torch.cat([batch.inputs, mix(batch.inputs, rows, shares)])
        return batch._replace(inputs=images, extra={"rows": rows, "shares": shares})

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        rows, shares, teacher = batch.extra["rows"], batch.extra["shares"], batch.teacher["logits"].detach()
        clean, mixed = student["logits"].split(len(batch.labels))
        labels = mixed_labels(batch.labels, rows, shares.to(clean.dtype), clean.shape[1])
        return {
            "mixup": self.weight_mixup * soft_cross_entropy(mixed, labels, all_known(batch.labels, rows)),
            "teacher": self.weight_teacher * kd(clean, teacher, self.temperature),
            "mixed": self.weight_teacher * kd(mixed, mix(teacher, rows, shares), self.temperature),
        }

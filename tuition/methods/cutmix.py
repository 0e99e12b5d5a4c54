"""`cutmix`: CutMix (arXiv 1905.04899, 2019) as a baseline of Comparative Knowledge Distillation (arXiv 2311.02253 [code]).

The student sees images alone in which a box is another sample's, j a permutation of the batch; the box has √(1 − λ) of each side,
λ ~ Beta(α, α), and a uniform centre. With λ the share of pixels that stayed, the loss is that of `mixup`: cross-entropy on the mixed
labels and on the same mix of the teacher's softmax at T = 1 on the clean samples, with no further call.
Ours [ours]: one box a sample; the method's own code draws one a batch.
"""

import torch
from torch import Tensor, nn

from tuition.losses.mixing import Mixture, draw_boxes, draw_rows, draw_shares
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class CutMix(nn.Module):
    source, evidence = "arXiv 1905.04899", "code"
    signals: tuple[str, ...] = ("logits",)
    inputs = ("images",)
    weight_ce = 0.0
    label_use = "used"

    def __init__(self, *, alpha: Positive = 1.0, weight_labels: NotNegative = 1.0, weight_teacher: NotNegative = 1.0):
        super().__init__()
        self.alpha, self.weight_labels, self.weight_teacher = alpha, weight_labels, weight_teacher

    def augment(self, batch: Batch) -> Batch:
        rows = draw_rows(len(batch.labels), 2, batch.generator)
        lam = draw_shares(len(rows), 2, self.alpha, batch.generator)[:, 0]
        height, width = batch.inputs.shape[-2:]
        inside = draw_boxes(lam, height, width, batch.generator)
        taken = inside.float().mean((1, 2, 3))
        images = torch.where(inside, batch.inputs[rows[:, 1]], batch.inputs)
        mixture = Mixture(rows, torch.stack([1 - taken, taken], dim=1), batch.teacher["logits"].detach())
        return batch._replace(inputs=images, teacher=mixture.signals(batch.teacher), extra=mixture._asdict())

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        mixture = Mixture(**batch.extra)
        return mixture.terms(student["logits"], batch.labels, self.weight_labels, self.weight_teacher)

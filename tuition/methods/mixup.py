"""`mixup`: mixup (arXiv 1710.09412, 2018) as a baseline of Comparative Knowledge Distillation (arXiv 2311.02253 [code]).

The student sees mixed images alone, x̃ = λ·x_i + (1 − λ)·x_j, λ ~ Beta(α, α), j a permutation of the batch. Loss:
w_labels · CE(s(x̃), λ·y_i + (1 − λ)·y_j) + w_teacher · CE(s(x̃), λ·p_i + (1 − λ)·p_j), p the teacher's softmax at T = 1 on the clean
samples: the teacher is never run on mixed images, so there is no further call.
Ours [ours]: one λ a sample; mixup's own code draws one a batch.
"""

from torch import Tensor, nn

from tuition.losses.mixing import Mixture, draw_rows, draw_shares, mix
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class Mixup(nn.Module):
    source, evidence = "arXiv 1710.09412", "code"
    signals: tuple[str, ...] = ("logits",)
    inputs = ("images",)
    weight_ce = 0.0
    label_use = "used"

    def __init__(self, *, alpha: Positive = 1.0, weight_labels: NotNegative = 1.0, weight_teacher: NotNegative = 1.0):
        super().__init__()
        self.alpha, self.weight_labels, self.weight_teacher = alpha, weight_labels, weight_teacher

    def augment(self, batch: Batch) -> Batch:
        rows = draw_rows(len(batch.labels), 2, batch.generator)
        shares = draw_shares(len(rows), 2, self.alpha, batch.generator)
        mixture = Mixture(rows, shares, batch.teacher["logits"].detach())
        return batch._replace(
            inputs=mix(batch.inputs, rows, shares), teacher=mixture.signals(batch.teacher), extra=mixture._asdict()
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        mixture = Mixture(**batch.extra)
        return mixture.terms(student["logits"], batch.labels, self.weight_labels, self.weight_teacher)

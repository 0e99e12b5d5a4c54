"""`mixup3`: mixup of three samples, a baseline of Comparative Knowledge Distillation (arXiv 2311.02253; its loss as released [code]).

As `mixup`, with x̃ = Σ_k w_k·x_{i_k} over three samples: each one with two permutations of the batch. As released the weights are three
draws of Beta(α, α), α = 1, divided by their sum, once for the whole batch. `mixup` draws for each sample.
"""

from torch import Tensor, nn

from tuition.losses.mixing import Mixture, draw_ratios, draw_rows, mix
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class Mixup3(nn.Module):
    source, evidence = "arXiv 2311.02253", "code"
    signals: tuple[str, ...] = ("logits",)
    inputs = ("images",)
    weight_ce = 0.0
    label_use = "used"

    def __init__(self, *, alpha: Positive = 1.0, weight_labels: NotNegative = 1.0, weight_teacher: NotNegative = 1.0):
        super().__init__()
        self.alpha, self.weight_labels, self.weight_teacher = alpha, weight_labels, weight_teacher

    def augment(self, batch: Batch) -> Batch:
        rows = draw_rows(len(batch.labels), 3, batch.generator)
        shares = draw_ratios(len(rows), 3, self.alpha, batch.generator)
        mixture = Mixture(rows, shares, batch.teacher["logits"].detach())
        return batch._replace(
            inputs=mix(batch.inputs, rows, shares), teacher=mixture.signals(batch.teacher), extra=mixture._asdict()
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        mixture = Mixture(**batch.extra)
        return mixture.terms(student["logits"], batch.labels, self.weight_labels, self.weight_teacher)

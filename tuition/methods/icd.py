"""`icd`: Invariant Consistency Distillation, later renamed DCD (arXiv 2407.11802, 2024 [code]).

u = norm(W_s f^s), v = norm(W_t f^t) in R^dimensions, one linear layer (with bias) a side, both trained.
L_ij = clip(exp τ, 0, 10) · ⟨u_i, v_j⟩ + b, τ learnt from 1, b from 0. p_i = softmax_j L_ij, q_i = softmax_j L_ji.
Loss: CE + weight · [−mean_i log p_ii + invariance · mean_i KL(q_i ‖ p_i)], no detach in KL. The paper's best form is
`icd+kd`.
Notes [ours]: b cancels in both softmaxes, so it has no effect and no gradient but rounding; it is kept as released. The
second term pushes the matrix L toward symmetry, nothing more. Every other sample of the batch is a negative, those of
the same class too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch, Context
from tuition.ranges import Count, NotNegative

GREATEST = 10.0  # of exp τ


class ICD(nn.Module):
    source, evidence = "arXiv 2407.11802", "code"
    signals: tuple[str, ...] = ("embedding",)
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0, invariance: NotNegative = 0.5, dimensions: Count = 128):
        super().__init__()
        self.weight, self.invariance, self.dimensions = weight, invariance, dimensions
        self.log_scale, self.offset = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))

    def setup(self, context: Context) -> None:
        self.head = nn.Linear(context.student["embedding"][0], self.dimensions)
        self.teacher_head = nn.Linear(context.teacher["embedding"].shape[1], self.dimensions)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student["embedding"]):
            ours = F.normalize(self.head(student["embedding"]), dim=1)
            theirs = F.normalize(self.teacher_head(batch.teacher["embedding"].detach()), dim=1)
            logits = self.log_scale.exp().clamp(0, GREATEST) * (ours @ theirs.T) + self.offset
            rows, columns = logits.log_softmax(1), logits.log_softmax(0).T
            return {
                "contrast": -self.weight * rows.diagonal().mean(),
                "invariance": self.weight
                * self.invariance
                * F.kl_div(rows, columns, reduction="batchmean", log_target=True),
            }

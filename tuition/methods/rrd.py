"""`rrd`: Relational Representation Distillation (arXiv 2407.12073 [code]).

s = norm(W_s f^s), t = norm(W_t f^t) in R^dimensions, and a bank of K teacher embeddings m_k. With τ_t < τ_s:
Loss: CE + weight · −mean_i Σ_k softmax_k(t_i·m_k / τ_t) · log softmax_k(s_i·m_k / τ_s). The release's other form is
`rrd+kd`.
`temperature_student`, `temperature_teacher`: 0.1, 0.02 in the newest release; 0.04, 0.1 in that of 2024.
Where ours differs:
- W_t gets no gradient in the release, so it is a fixed random projection there; here it is made one, seeded and without
  bias [ours];
- the release's queue of recent teacher embeddings becomes K rows of the bought outputs, drawn once, seeded; K ≤ n
  [ours]. A sample's own embedding may be among them, as in a queue;
- Σ_k p_k log q_k = s·Σ_k p_k m_k / τ_s − log Σ_k exp(s·m_k / τ_s) where Σ p = 1: one (B, K) matrix is kept for the
  gradient, not three [ours].
The least loss is the entropy of the teacher's side, not 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch, Context
from tuition.ranges import Count, NotNegative, Positive


class RRD(nn.Module):
    source, evidence = "arXiv 2407.12073", "code"
    signals: tuple[str, ...] = ("embedding",)
    label_use = "needed"
    bank: Tensor
    projection: Tensor

    def __init__(
        self,
        *,
        weight: NotNegative = 1.0,
        bank: int = 16384,
        temperature_student: Positive = 0.1,
        temperature_teacher: Positive = 0.02,
        dimensions: Count = 128,
    ):
        super().__init__()
        if bank < 1:
            raise UserError(f"params.yaml: methods.rrd.bank: found {bank}, expected at least 1")
        self.weight, self.most, self.dimensions = weight, bank, dimensions
        self.temperature_student, self.temperature_teacher = temperature_student, temperature_teacher

    def setup(self, context: Context) -> None:
        bought = context.teacher["embedding"]
        self.head = nn.Linear(context.student["embedding"][0], self.dimensions)
        # Drawn on the CPU, so that the same seed gives the same numbers on every device.
        generator = torch.Generator().manual_seed(context.seed)
        projection = torch.randn(bought.shape[1], self.dimensions, generator=generator) / bought.shape[1] ** 0.5
        rows = torch.randperm(len(bought), generator=generator)[: self.most]
        # Both follow from seed and export, so a checkpoint need not carry them.
        self.register_buffer("projection", projection.to(bought.device), persistent=False)
        with full_precision(bought):
            chosen = bought[rows.to(bought.device)].float() @ self.projection
        self.register_buffer("bank", F.normalize(chosen, dim=1), persistent=False)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student["embedding"]):
            ours = F.normalize(self.head(student["embedding"]), dim=1) / self.temperature_student
            middle = self._middle(batch.teacher["embedding"])
            loss = ((ours @ self.bank.T).logsumexp(1) - (ours * middle).sum(1)).mean()
            return {"teacher": self.weight * loss}

    @torch.no_grad()
    def _middle(self, embedding: Tensor) -> Tensor:
        """Σ_k softmax_k(t·m_k / τ_t) · m_k of teacher embeddings (B, d): (B, dimensions)."""
        theirs = F.normalize(embedding @ self.projection, dim=1) / self.temperature_teacher
        return (theirs @ self.bank.T).softmax(1) @ self.bank

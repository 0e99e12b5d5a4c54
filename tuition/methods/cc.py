"""`cc`: Correlation Congruence (arXiv 1904.01802, ICCV 2019; the form of the field's common benchmark, arXiv 1910.10699
[code]).

Loss: CE + weight · mean over i < B of Σ_d |Δ_i|·|Δ_{i+1}|, Δ = W_s f^s − W_t f^t in R^dimensions, linear heads (with
bias) on both sides, both trained.
Known defects, kept: it depends on the order of the batch, for only neighbours are multiplied; this is not the paper's
kernel of all pairs; and as the teacher's head is trained too, constant heads reach the least value, 0, and teach
nothing.
"""

from torch import Tensor, nn

from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch, Context
from tuition.ranges import Count, NotNegative


class CC(nn.Module):
    source, evidence = "arXiv 1904.01802", "code"
    signals: tuple[str, ...] = ("embedding",)
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 0.02, dimensions: Count = 128):
        super().__init__()
        self.weight, self.dimensions = weight, dimensions

    def setup(self, context: Context) -> None:
        self.head = nn.Linear(context.student["embedding"][0], self.dimensions)
        self.teacher_head = nn.Linear(context.teacher["embedding"].shape[1], self.dimensions)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student["embedding"]):
            gap = self.head(student["embedding"]) - self.teacher_head(batch.teacher["embedding"].detach())
            neighbours = (gap[:-1] * gap[1:]).abs().sum()
            return {"teacher": self.weight * neighbours / max(1, len(gap) - 1)}

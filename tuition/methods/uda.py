"""`uda`: consistency of samples that were not bought, to soft targets (UDA, arXiv 1904.12848, eq. 1 [mem]).

Loss: (1/B) Σ CE(z^s_i, p^t_i) + weight · (1/R) Σ_j 1(max p_j ≥ τ) · KL(softmax(z_j / T) ‖ softmax(z^s(strong(u_j)))), p^t the teacher's
softmax, z_j the student's own logits on the weakly augmented sample u_j, to which no gradient goes, p_j their softmax.
Published for CIFAR-10: T 0.4, τ 0.8, weight 1. Where ours differs [ours]: the teacher's soft answers stand for labels, so that the
signal annealing of labelled samples, which is against over-fitting to labels, is left out; augmentation as in `fixmatch`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.mixing import soft_cross_entropy
from tuition.methods.fixmatch import both_views
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Part, Positive


class UDA(nn.Module):
    source, evidence = "arXiv 1904.12848", "mem"
    signals: tuple[str, ...] = ("logits",)
    inputs = ("images",)
    weight_ce = 0.0
    label_use = "none"
    rest_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0, threshold: Part = 0.8, temperature: Positive = 0.4):
        super().__init__()
        self.weight, self.threshold, self.temperature = weight, threshold, temperature

    def augment(self, batch: Batch) -> Batch:
        """The batch with strongly augmented copies behind the rest's inputs."""
        return both_views(batch)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        weak, strong = student["rest"].chunk(2)
        weak = weak.detach()
        sure = weak.softmax(1).amax(1) >= self.threshold
        target = (weak / self.temperature).softmax(1)
        apart = F.kl_div(F.log_softmax(strong, dim=1), target, reduction="none").sum(1)
        bought = soft_cross_entropy(student["logits"], batch.teacher["logits"].softmax(1))
        return {"teacher": bought, "consistency": self.weight * (apart * sure).mean()}

"""`dist`: Knowledge Distillation from a Stronger Teacher (arXiv 2205.10536, NeurIPS 2022 [code]).

Loss: weight · T² · [β · (1 − mean over samples of r(p^s_i·, p^t_i·)) + γ · (1 − mean over classes of r(p^s_·c,
p^t_·c))], with r Pearson's correlation and p the softmax at temperature T. Scale and offset of the teacher's
probabilities go unmatched by design.
Defaults are those of the release's CIFAR-100 script: β = γ = 2, T = 4; its ImageNet script has 1, 1 and T = 1. With
them the comparative baseline of arXiv 2311.02253 is `dist+kd` [code].
Known defect: a class that no sample of the batch holds has a nearly constant column, whose r is noise.
"""

from torch import Tensor, nn

from tuition.losses.relations import correlation
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class DIST(nn.Module):
    source, evidence = "arXiv 2205.10536, eq. 10", "code"
    signals: tuple[str, ...] = ("logits",)
    label_use = "used"

    def __init__(
        self,
        *,
        weight: NotNegative = 1.0,
        beta: NotNegative = 2.0,
        gamma: NotNegative = 2.0,
        temperature: Positive = 4.0,
    ):
        super().__init__()
        self.weight, self.beta, self.gamma, self.temperature = weight, beta, gamma, temperature

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours = (student["logits"] / self.temperature).softmax(1)
        theirs = (batch.teacher["logits"].detach() / self.temperature).softmax(1)
        scale = self.weight * self.temperature**2
        return {
            "samples": scale * self.beta * (1 - correlation(ours, theirs, dim=1).mean()),
            "classes": scale * self.gamma * (1 - correlation(ours, theirs, dim=0).mean()),
        }

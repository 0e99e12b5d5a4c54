"""`pkt`: Probabilistic Knowledge Transfer (arXiv 1803.10837, ECCV 2018; the form of the field's common benchmark, arXiv
1910.10699 [code]).

p_ij = (1 + cos(f_i, f_j)) / 2, each row divided by its sum, of the penultimate embeddings, the own entry included.
Loss: CE + weight · mean over i, j of p^t_ij · log((p^t_ij + ε) / (p^s_ij + ε)), ε = 1e-7. Embeddings may differ in
width.
The weight, 30000, belongs to the mean over all B² entries at B = 64, of which each is about 1 / B: it means about 1 / B
less in a larger batch.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative

EPS = 1e-7


class PKT(nn.Module):
    source, evidence = "arXiv 1803.10837", "code"
    signals: tuple[str, ...] = ("embedding",)
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 30000.0):
        super().__init__()
        self.weight = weight

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student["embedding"]):
            ours, theirs = neighbours(student["embedding"]), neighbours(batch.teacher["embedding"].detach())
            return {"teacher": self.weight * (theirs * ((theirs + EPS) / (ours + EPS)).log()).mean()}


def neighbours(x: Tensor) -> Tensor:
    """(B, d) -> (B, B): each row the chances of being a neighbour, from the cosines."""
    x = F.normalize(x, dim=1)
    # A cosine of rounded vectors may be a little below −1, and a chance may not be below 0.
    chances = (1 + x @ x.T).clamp(min=0)
    return chances / chances.sum(1, keepdim=True)

"""`fixmatch`: consistency of samples that were not bought (FixMatch, arXiv 2001.07685, eq. 3 and 4 [mem]).

Loss: (1/B) Σ CE(z^s_i, ĉ_i) + weight · (1/R) Σ_j 1(max p_j ≥ τ) · CE(z^s(strong(u_j)), argmax p_j), ĉ the class that the teacher names,
p_j the student's own softmax on the weakly augmented sample u_j (shifted and mirrored, as in all training), to which no gradient
goes. It reads no estimate and takes no encoder: `rest: unlabelled` will do.
Where ours differs [ours]: the teacher's class stands for the label; the strong augmentation is brightness, contrast, saturation and a
hidden box in the place of RandAugment and CutOut; the student that is kept is no average over steps. Published: 7 unlabelled samples
a labelled one (`train.rest_share: 0.875`), τ 0.95, weight 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.strong import strengthen
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Part


class FixMatch(nn.Module):
    source, evidence = "arXiv 2001.07685", "mem"
    signals: tuple[str, ...] = ("label",)
    inputs = ("images",)
    weight_ce = 0.0
    label_use = "none"
    rest_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0, threshold: Part = 0.95):
        super().__init__()
        self.weight, self.threshold = weight, threshold

    def augment(self, batch: Batch) -> Batch:
        """The batch with strongly augmented copies behind the rest's inputs."""
        return both_views(batch)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        weak, strong = student["rest"].chunk(2)
        chance, named = weak.detach().softmax(1).max(1)
        losses = F.cross_entropy(strong, named, reduction="none") * (chance >= self.threshold)
        bought = F.cross_entropy(student["logits"], batch.teacher["label"].long())
        return {"teacher": bought, "consistency": self.weight * losses.mean()}


def both_views(batch: Batch) -> Batch:
    """The batch whose rest has inputs (2 R, …): as they were, then the same ones strongly augmented."""
    assert batch.rest is not None
    weak = batch.rest.inputs
    return batch._replace(rest=batch.rest._replace(inputs=torch.cat([weak, strengthen(weak, batch.generator)])))

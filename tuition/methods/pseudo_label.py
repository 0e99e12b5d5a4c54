"""`pseudo-label`: cross-entropy on the class that the teacher names (Lee, ICML 2013 workshop, eq. 15–16 [mem]).

Loss: weight · (1/B) Σ_i m_i · CE(z^s_i, ĉ_i), ĉ the signal `label`: the class that a teacher names, or its highest logit's; m_i is 1.
With `threshold` τ > 0, m_i = 1 where the teacher's softmax has a class with at least τ, else 0, as FixMatch (arXiv 2001.07685, eq. 4
[mem]) has it: that takes a teacher that gives logits. The mean is over the whole batch.

Lee's pseudo-labels are the student's own, from earlier in its training, with a weight that grows; here a teacher names them, and the
weight stands. Cross-entropy on the labels is not added: the control of what a teacher's soft answers give. It needs no labels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Part


class PseudoLabel(nn.Module):
    source, evidence = "Lee, ICML 2013 workshop", "mem"
    signals: tuple[str, ...] = ("label",)
    weight_ce = 0.0
    label_use = "none"

    def __init__(self, *, weight: NotNegative = 1.0, threshold: Part = 0.0):
        super().__init__()
        self.weight, self.threshold = weight, threshold
        self.signals = ("label", "logits") if threshold else ("label",)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = student["logits"][: len(batch.labels)]
        losses = F.cross_entropy(logits, batch.teacher["label"].long(), reduction="none")
        if self.threshold:
            losses = losses * (batch.teacher["logits"].softmax(1).amax(1) >= self.threshold)
        return {"teacher": self.weight * losses.mean()}

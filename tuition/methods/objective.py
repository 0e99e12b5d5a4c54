"""What a student is trained on: a method's terms, plain cross-entropy beside them, and KD where the name says +kd."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.divergence import kd
from tuition.methods.batch import Batch
from tuition.methods.facts import Facts

WEIGHT_KD, TEMPERATURE_KD = 1.0, 4.0  # of +kd, as arXiv 2407.11802 adds it


class Objective(nn.Module):
    """`method` with cross-entropy on the labels (term `labels`) and KD_T on the teacher's logits (term `kd`), by weight.

    `signals` are the families of teacher signals that are read, `maps` tells whether the student's stage maps are.
    """

    method: Any

    def __init__(self, method: nn.Module, *, weight_ce: float, weight_kd: float, temperature_kd: float, maps: bool):
        super().__init__()
        self.method, self.weight_ce, self.weight_kd, self.temperature_kd = method, weight_ce, weight_kd, temperature_kd
        self.maps = maps
        own: tuple[str, ...] = self.method.signals  # of the object: settings may decide
        self.signals = tuple(dict.fromkeys((*own, *(("logits",) if weight_kd else ()))))

    def setup(self, facts: Facts) -> None:
        if hasattr(self.method, "setup"):
            self.method.setup(facts)

    def wrap(self, student: nn.Module) -> nn.Module:
        """The student as it is deployed; a method may give it another head. To be called after `setup`."""
        return self.method.wrap(student) if hasattr(self.method, "wrap") else student

    def augment(self, batch: Batch) -> Batch:
        return self.method.augment(batch) if hasattr(self.method, "augment") else batch

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Terms by name, for student signals (B', …) whose first B rows are the batch's samples."""
        logits = student["logits"][: len(batch.labels)]
        terms: dict[str, Tensor] = {}
        if self.weight_ce:
            terms["labels"] = self.weight_ce * F.cross_entropy(logits, batch.labels)
        terms |= self.method(student, batch)
        if self.weight_kd:
            terms["kd"] = self.weight_kd * kd(logits, batch.teacher["logits"], self.temperature_kd)
        return terms

"""What a student is trained on: a method's terms, plain cross-entropy beside them, and KD where the name says +kd."""

from torch import Tensor, nn

from tuition.losses.divergence import kd
from tuition.losses.labelled import cross_entropy
from tuition.methods.protocol import Batch, Context, Method
from tuition.models.network import Network

WEIGHT_KD, TEMPERATURE_KD = 1.0, 4.0  # of +kd, as arXiv 2407.11802 adds it


class Objective(nn.Module):
    """`method` with cross-entropy on the labels that are known (term `labels`) and KD_T on the teacher's logits (term `kd`), by weight.

    `signals` are the families of teacher signals that are read, `maps` tells whether the student's stage maps are, `inside`
    what else of it.
    """

    method: Method

    def __init__(
        self,
        method: Method,
        *,
        weight_ce: float,
        weight_kd: float,
        temperature_kd: float,
        maps: bool,
        inside: tuple[str, ...] = (),
        rest: str | None = None,
    ):
        super().__init__()
        self.method, self.weight_ce, self.weight_kd, self.temperature_kd = method, weight_ce, weight_kd, temperature_kd
        self.maps, self.inside = maps, inside
        # Whether the method has terms of its own for samples that were not bought, and what is known of them (None: as `train.rest`).
        self.reads_rest, self.rest = getattr(method, "rest_use", "added") != "added", rest
        own: tuple[str, ...] = self.method.signals  # of the object: settings may decide
        self.signals = tuple(dict.fromkeys((*own, *(("logits",) if weight_kd else ()))))

    def setup(self, context: Context) -> None:
        setup = getattr(self.method, "setup", None)
        if setup is not None:
            setup(context)

    def wrap(self, student: Network) -> Network:
        """The student as it is deployed; a method may give it another head. To be called after `setup`."""
        wrap = getattr(self.method, "wrap", None)
        return student if wrap is None else wrap(student)

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Places of samples that go through the student in passes of their own, each with its own batch statistics; None: all in one."""
        if batch.groups is None or getattr(self.method, "passes", "together") == "together":
            return None
        return batch.groups.parts

    def augment(self, batch: Batch) -> Batch:
        augment = getattr(self.method, "augment", None)
        return batch if augment is None else augment(batch)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Terms by name, for student signals (B', …) whose first B rows are the batch's samples."""
        logits = student["logits"][: len(batch.labels)]
        terms: dict[str, Tensor] = {}
        if self.weight_ce:
            terms["labels"] = self.weight_ce * cross_entropy(logits, batch.labels)
        terms |= self.method(student, batch)
        if self.weight_kd:
            terms["kd"] = self.weight_kd * kd(logits, batch.teacher["logits"], self.temperature_kd)
        return terms

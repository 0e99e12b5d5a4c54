"""`ces-kd`: curriculum expert selection (arXiv 2209.07606, 2022 [abs]); the difficulty and the schedule are not public: ours.

For teachers of kind `experts`: each sample was answered by one expert, chosen by its difficulty δ in [0, 1) (see
tuition/teachers/experts.py). Loss: 0.1 · CE + weight · mean_i 1[δ_i ≤ pace] KD_T(s_i ‖ t_i), where pace grows linearly from `start`
to 1 over the first `share` of the steps: easy samples are distilled from the beginning, the hardest last. The schedule, the weights and
T = 4 are [ours].
Controls: `order: hard-first` (anti-curriculum), `order: none` (all from the beginning); the choice of expert has its own in
`teacher.choose`. A chain of assistants (TAKD) is two studies: the student of the first is the teacher of the second.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive


class CESKD(nn.Module):
    source, evidence = "arXiv 2209.07606", "abs"
    signals: tuple[str, ...] = ("logits", "difficulty")
    weight_ce = 0.1
    label_use = "used"

    def __init__(
        self,
        *,
        order: Literal["easy-first", "hard-first", "none"] = "easy-first",
        start: NotNegative = 0.3,
        share: Positive = 0.5,
        temperature: Positive = 4.0,
        weight: NotNegative = 0.9,
    ):
        super().__init__()
        self.order, self.start, self.share = order, start, share
        self.temperature, self.weight = temperature, weight
        self.steps = 0

    def setup(self, context: Context) -> None:
        self.steps = context.steps

    def pace(self, step: int) -> float:
        """The share of the samples that are distilled at `step`."""
        if self.order == "none" or not self.steps:
            return 1.0
        return min(1.0, self.start + (1 - self.start) * step / (self.share * self.steps))

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours = F.log_softmax(student["logits"] / self.temperature, dim=1)
        theirs = F.log_softmax(batch.teacher["logits"].detach() / self.temperature, dim=1)
        each = self.temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
        hard = batch.teacher["difficulty"].detach().squeeze(1)
        now = (1 - hard if self.order == "hard-first" else hard) <= self.pace(batch.step)
        return {"teacher": self.weight * (each * now).mean()}

"""`bss`: boundary supporting samples (arXiv 1805.05532, AAAI 2019 [code]).

For each sample the teacher stage moves the image until the teacher is about to change its mind, and stores that image and the
teacher's logits on it. Loss: CE(s(x), y) + w(t) · KL_T(s(x) ‖ t(x)) + b(t) · KL_T(s(x̂) ‖ t(x̂)), x̂ the boundary images of those samples
that teacher and student both get right, T = 3, without the factor T², as released. With t the share of training that is done, w falls
linearly from `weight_kd_start` to `weight_kd_end` (4 → 1), b from `weight_boundary` (2) to 0 at `boundary_until` (¾); then boundary
images are not run any more.

Where ours differs: boundary images are made once, of the sample as it is bought, where the released code makes them anew in each step
of the view that the student sees, and of at most 64 samples a batch; here all of a batch are used. Clean and boundary images share
one forward pass, and so their batch statistics. Of a sample without a label the teacher is taken to be right [ours].
The ledger counts one call a sample, but a boundary image takes the teacher as many passes more as it has steps, with gradients: a
local teacher only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.labelled import known_or
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive


class BSS(nn.Module):
    source, evidence = "arXiv 1805.05532", "code"
    signals: tuple[str, ...] = ("logits", "boundary")
    inputs = ("images",)
    label_use = "used"

    def __init__(
        self,
        *,
        temperature: Positive = 3.0,
        weight_kd_start: NotNegative = 4.0,
        weight_kd_end: NotNegative = 1.0,
        weight_boundary: NotNegative = 2.0,
        boundary_until: Positive = 0.75,
    ):
        super().__init__()
        self.temperature, self.until, self.weight_boundary = temperature, boundary_until, weight_boundary
        self.start, self.end = weight_kd_start, weight_kd_end

    def setup(self, context: Context) -> None:
        self.normalise, self.steps = context.normalise, context.steps

    def boundary_weight(self, step: int) -> float:
        return self.weight_boundary * max(0.0, 1 - step / (self.until * self.steps))

    def augment(self, batch: Batch) -> Batch:
        if not self.boundary_weight(batch.step):
            return batch
        more = self.normalise(batch.teacher["supporting"]).to(batch.inputs.dtype)
        return batch._replace(inputs=torch.cat([batch.inputs, more]))

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        count, done = len(batch.labels), batch.step / self.steps
        clean, moved = student["logits"][:count], student["logits"][count:]
        teacher, weight = batch.teacher["logits"].detach(), self.boundary_weight(batch.step)
        terms = {"teacher": (self.start + done * (self.end - self.start)) * self._divergence(clean, teacher).mean()}
        labels = known_or(batch.labels, teacher)
        right = (teacher.argmax(1) == labels) & (clean.argmax(1) == labels)
        right = right.to(clean.dtype)
        apart = (
            self._divergence(moved, batch.teacher["supporting_logits"].detach()) if weight else torch.zeros_like(right)
        )
        terms["boundary"] = weight * (right * apart).sum() / right.sum().clamp(min=1)
        return terms

    def _divergence(self, student: Tensor, target: Tensor) -> Tensor:
        """KL(softmax(target / T) ‖ softmax(student / T)) of each row (B,)."""
        ours = F.log_softmax(student / self.temperature, dim=1)
        theirs = F.log_softmax(target / self.temperature, dim=1)
        return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)

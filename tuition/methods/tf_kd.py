"""`tf-kd`: teacher-free knowledge distillation with a virtual teacher, Tf-KD_reg (arXiv 1909.11723, CVPR 2020 [mem]).
No teacher call.

The virtual teacher gives the true class u_y = `correct` and every other class (1 − correct) / (C − 1).
Loss: (1 − α) · CE + α · mean KL(softmax(u / T) ‖ softmax(z)). The softmax is taken of the *probabilities* u over T =
20, so it is nearly uniform; the student's side has no temperature. Both as in the released code as we know it.
Ours differs [ours]: KL is summed over the classes. The release averages over them and multiplies by a constant that
changes between its experiments; at 100 classes ours is its multiplier of 100.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.labelled import UNKNOWN, is_known, scale
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class TeacherFreeKD(nn.Module):
    source, evidence = "arXiv 1909.11723, eq. 9", "mem"
    signals: tuple[str, ...] = ()
    weight_ce = 0.0
    calls = 0.0
    label_use = "needed"

    def __init__(self, *, correct: NotNegative = 0.99, temperature: Positive = 20.0, alpha: NotNegative = 0.1):
        super().__init__()
        for key, value in (("correct", correct), ("alpha", alpha)):
            if value > 1:
                raise UserError(f"params.yaml: methods.tf-kd.{key}: found {value}, expected 0 to 1")
        self.correct, self.temperature, self.alpha = correct, temperature, alpha

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits, labels = student["logits"], batch.labels
        virtual = torch.full_like(logits, (1 - self.correct) / (logits.shape[1] - 1))
        virtual = virtual.scatter(1, labels.clamp(min=0)[:, None], self.correct)
        theirs, ours = (virtual / self.temperature).log_softmax(1), logits.log_softmax(1)
        known = is_known(labels)
        hard = torch.where(known.any(), F.nll_loss(ours, labels, ignore_index=UNKNOWN), ours.new_zeros(()))
        theirs = torch.where(known[:, None], theirs, ours.detach())  # no virtual teacher of what has no label
        soft = F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * scale(known).to(ours.dtype)
        return {"labels": (1 - self.alpha) * hard, "virtual": self.alpha * soft}

"""`lskd`: Logit Standardization in Knowledge Distillation (arXiv 2403.01427, CVPR 2024 [code]).

Loss: 0.1 · CE + weight · KD_T(s(z^s) ‖ s(z^t)), s(z) = (z − mean) / (std + 1e-7) over the classes of a sample, T = 2.
The std is the population's, as in the paper's equation; the released code takes the sample's, which is √(C / (C − 1))
larger and amounts to a temperature that much higher (0.5 % at 100 classes).
Known property: the loss does not see the scale and the offset of a sample's logits, so confidence comes from CE alone.
"""

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.losses.divergence import kd
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive

EPS = 1e-7


class LSKD(nn.Module):
    source, evidence = "arXiv 2403.01427", "code"
    signals: tuple[str, ...] = ("logits",)
    weight_ce = 0.1
    label_use = "used"

    def __init__(self, *, weight: NotNegative = 9.0, temperature: Positive = 2.0):
        super().__init__()
        self.weight, self.temperature = weight, temperature

    def setup(self, context: Context) -> None:
        if context.classes < 3:
            raise UserError(
                f"lskd: the data has {context.classes} classes; standardised logits of two are always 1 and −1, and teach nothing. "
                "Use another method"
            )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours, theirs = standardised(student["logits"]), standardised(batch.teacher["logits"])
        return {"teacher": self.weight * kd(ours, theirs, self.temperature)}


def standardised(logits: Tensor) -> Tensor:
    """Logits (B, C) with mean 0 and standard deviation 1 a row."""
    std, mean = torch.std_mean(logits, dim=1, correction=0, keepdim=True)
    return (logits - mean) / (std + EPS)

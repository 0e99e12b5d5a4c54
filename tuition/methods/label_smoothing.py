"""`label-smoothing`: cross-entropy on softened labels (arXiv 1512.00567, §7 [mem]). No teacher call at all.

Loss: −mean Σ_c q_c log p_c, q = (1 − ε) · one-hot + ε / C, ε = `smoothing`. A control: what of a teacher's gain mere
softness gives.
"""

from torch import Tensor, nn

from tuition.errors import UserError
from tuition.losses.labelled import cross_entropy
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative


class LabelSmoothing(nn.Module):
    source, evidence = "arXiv 1512.00567", "mem"
    signals: tuple[str, ...] = ()
    weight_ce = 0.0
    calls = 0.0
    label_use = "needed"

    def __init__(self, *, smoothing: NotNegative = 0.1):
        super().__init__()
        if smoothing > 1:
            raise UserError(f"params.yaml: methods.label-smoothing.smoothing: found {smoothing}, expected 0 to 1")
        self.smoothing = smoothing

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        return {"labels": cross_entropy(student["logits"], batch.labels, label_smoothing=self.smoothing)}

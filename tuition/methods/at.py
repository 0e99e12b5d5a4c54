"""`at`: attention transfer (Zagoruyko and Komodakis 2017, arXiv 1612.03928 [code, RepDistiller's weight]).

Loss: weight · Σ_layers mean (e^s − e^t)², e the energy of a map (mean over channels of its square) as a vector of length one; mean over
batch and positions. Where sizes differ the larger energy is average-pooled and then normalised again. It needs the teacher's energies
only, not its maps. Known: the mean over positions makes small maps count for more: deep ones, and all of small images, where the
weight, chosen on 32×32 pixels, may be too large (on 14×14 it slowed learning in our trials).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.layers import paired, unit_energies
from tuition.methods.protocol import Batch, Context
from tuition.models.maps import energy
from tuition.ranges import NotNegative


class AT(nn.Module):
    source, evidence = "arXiv 1612.03928", "code"
    signals: tuple[str, ...] = ("energy",)
    maps = True
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 1000.0):
        super().__init__()
        self.weight = weight

    def setup(self, context: Context) -> None:
        self.pairs = paired(context.student, context.teacher, "energy")

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        loss = student["logits"].new_zeros(())
        for ours, theirs in self.pairs:
            loss = loss + F.mse_loss(*unit_energies(energy(student[ours]), batch.teacher[theirs].detach()))
        return {"teacher": self.weight * loss}

"""`simkd`: the reused teacher classifier (Chen et al. 2022, arXiv 2203.14001 [code]).

The deployed student is the student, a projector of its last map to the teacher's channels, and the teacher's own last layer, frozen
(`tuition/models/projected.py`). Loss: weight · MSE(projected map, teacher's last map), mean over batch, channels and positions; no
cross-entropy: the labels are not used. Where sizes differ the larger map is average-pooled. The teacher's last map is its signal
`features`, which in some networks (wide residual ones, MobileNetV2, ShuffleNetV2) is none of its stages' maps.
It only stands where the teacher classifies the global average of its last map; that is checked on what was bought. The projector ends
in a ReLU, which cannot reach the negative entries that the last map of some teachers has.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.layers import same_size
from tuition.methods.protocol import Batch, Context
from tuition.models.network import Network
from tuition.ranges import NotNegative
from tuition.signals import arrays_of

LOOKED_AT = 256  # samples on which the teacher's embedding is compared with its map
TOLERANCE = 0.01  # of the embedding's largest entry: both are stored as halves


class SimKD(nn.Module):
    source, evidence = "arXiv 2203.14001", "code"
    signals: tuple[str, ...] = ("features", "classifier", "embedding")
    inputs = ("images",)
    maps = True
    weight_ce = 0.0
    label_use = "none"

    def __init__(self, *, weight: NotNegative = 1.0):
        super().__init__()
        self.weight = weight

    def setup(self, context: Context) -> None:
        check(context.teacher["features"][:LOOKED_AT], context.teacher["embedding"][:LOOKED_AT])
        # Not modules or tensors of this method: they are the student's own once it is wrapped.
        self.classifier = {key: context.constants[f"classifier_{key}"] for key in ("weight", "bias")}
        self.width = context.teacher["features"].shape[1]
        self.image = context.inputs.shape[1:]

    def wrap(self, student: Network) -> Network:
        """The student with a projector and the teacher's classifier."""
        from tuition.models.projected import wrap

        channels, height, width = self.image
        projected = wrap(student, width=self.width, channels=channels, size=(height, width))
        projected.set_classifier(**self.classifier)
        return projected

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        projected = student[arrays_of("map", student)[-1]]
        return {"teacher": self.weight * F.mse_loss(*same_size(projected, batch.teacher["features"].detach()))}


def check(last_map: Tensor, embedding: Tensor) -> None:
    """Raise UserError unless the embedding (n, d) is the global average of the last map (n, c, h, w)."""
    averaged, embedding = last_map.float().mean((2, 3)), embedding.float()
    if averaged.shape != embedding.shape:
        raise UserError(
            f"simkd: the teacher's embedding has {embedding.shape[1]} entries, its last map {averaged.shape[1]} channels; "
            "its classifier can only be reused where it reads the global average of the last map. Choose another method"
        )
    gap, largest = (averaged - embedding).abs().max(), embedding.abs().max()
    if not torch.isfinite(gap) or gap > TOLERANCE * largest:
        raise UserError(
            f"simkd: the teacher's embedding is not the global average of its last map (they differ by up to {float(gap):.3g}), "
            "which its classifier would have to read to be reused. Choose another method"
        )

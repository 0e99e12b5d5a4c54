"""`ab`: activation boundaries (Heo et al. 2019, arXiv 1811.03233 [code]).

In the first `share` of the steps only this trains: a connector (1×1 convolution and batch norm) brings each of the student's maps to the
teacher's channels, and every unit shall be on or off as the teacher's is, by a margin of 1:
weight · 3/1000 · Σ_layers 2^(l − L) Σ_units mean_batch [on · max(0, 1 − s)² + off · max(0, 1 + s)²], with L the deepest. The sum over
units and the 3/1000 are the released code's. After that cross-entropy alone trains; it is the term `labels`, zero before.

As released both networks' maps are taken before the activation after them: of a wide residual network, after the batch norm that the next
block begins with. `own: map` takes the student's after it, as we once did; the connector makes signs of both.
The teacher's signs are bought packed, eight channels a byte; the bits that fill the last byte are off and stay so. Where sizes differ
the larger is average-pooled, a pooled unit of the teacher's being on where more than half of it is [ours].
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.labelled import cross_entropy
from tuition.losses.layers import connector, initial_steps, paired, same_size
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative

SCALE = 3 / 1000


class AB(nn.Module):
    source, evidence = "arXiv 1811.03233", "code"
    signals: tuple[str, ...] = ("sign",)
    maps = True
    inside = ("preact",)
    weight_ce = 0.0
    label_use = "needed"

    def __init__(
        self, *, weight: NotNegative = 1.0, share: NotNegative = 0.3, own: Literal["preact", "map"] = "preact"
    ):
        super().__init__()
        self.weight, self.share, self.own = weight, share, own
        initial_steps("ab", share, 0)  # refuses a wrong share before anything is built

    def setup(self, context: Context) -> None:
        self.first = initial_steps("ab", self.share, context.steps)
        self.pairs = paired(context.student, context.teacher, "sign", self.own)
        self.connectors = nn.ModuleList(
            connector(context.student[ours][0], 8 * context.teacher[theirs].shape[1]) for ours, theirs in self.pairs
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = student["logits"]
        loss = logits.new_zeros(())
        if batch.step >= self.first:
            return {"teacher": loss, "labels": cross_entropy(logits, batch.labels)}
        for connect, (ours, theirs) in zip(self.connectors, self.pairs, strict=True):
            mine, on = same_size(student[ours], unpacked(batch.teacher[theirs]).to(logits.dtype))
            loss = loss / 2 + boundary(connect(mine).to(logits.dtype), on > 0.5)  # a layer weighs half the next one
        return {"teacher": self.weight * SCALE * loss, "labels": torch.zeros_like(loss)}


def unpacked(packed: Tensor) -> Tensor:
    """Bits (B, 8·g, h, w) of bytes (B, g, h, w), the highest bit first, as NumPy packs them."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)[:, None, None]
    return ((packed[:, :, None] >> shifts) & 1).flatten(1, 2)


def boundary(given: Tensor, on: Tensor) -> Tensor:
    """Σ_units of the squared hinge to the wanted side of zero, the mean over the batch; both (B, c, h, w)."""
    return F.relu(1 - torch.where(on, given, -given)).square().sum((1, 2, 3)).mean()

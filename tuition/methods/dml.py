"""`dml`: deep mutual learning (arXiv 1706.00384, CVPR 2018 [mem]). No teacher: two students of one architecture teach each other.

Loss: CE(s, y) + CE(p, y) + w · [KL(p ‖ s) + KL(s ‖ p)] at T = 1, where the peer p is a second student with weights of its own, on the
same images, and each one's target is the other's prediction, detached. The first student is the one that is kept.
Ours [ours]: both are updated in one step, where the paper updates them in turn; a training costs two students' time.
"""

import torch
from torch import Tensor, nn

from tuition.losses.divergence import kd
from tuition.losses.labelled import cross_entropy
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative


class DML(nn.Module):
    source, evidence = "arXiv 1706.00384", "mem"
    signals: tuple[str, ...] = ()
    calls = 0.0
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0, weight_peer: NotNegative = 1.0):
        super().__init__()
        self.weight, self.weight_peer = weight, weight_peer

    def setup(self, context: Context) -> None:
        self.peer = context.make_student().to(memory_format=torch.channels_last)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours = student["logits"]
        theirs = self.peer(batch.inputs).to(ours.dtype)
        return {
            "peer_labels": self.weight_peer * cross_entropy(theirs, batch.labels),
            "mutual": self.weight * kd(ours, theirs, 1.0),
            "peer_mutual": self.weight * kd(theirs, ours, 1.0),
        }

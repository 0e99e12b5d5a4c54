"""`one`: on-the-fly native ensemble (arXiv 1806.04606, NeurIPS 2018 [code]). No teacher: branches of the student make one.

The student's last stage and classifier get `branches` rivals on its last map but one. A gate on that map, pooled,
g = softmax(ReLU(BN(W·GAP))), weighs all of them into an ensemble z_e = Σ_b g_b·z_b. Loss:
CE(s, y) + Σ_b CE(z_b, y) + CE(z_e, y) + w · Σ_b KD_T(z_b ‖ z_e), T = 3, where the last sum has the student's own branch too and z_e is
detached there. The student is kept, without branches and gate.
Ours [ours]: the weight of the last term is constant, where the released code lets it grow over the first 80 epochs. Needs an
architecture that says what its last stage is: one of our own.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.divergence import kd
from tuition.losses.labelled import cross_entropy
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive


class ONE(nn.Module):
    source, evidence = "arXiv 1806.04606", "code"
    signals: tuple[str, ...] = ()
    maps = True
    calls = 0.0
    label_use = "needed"

    def __init__(self, *, branches: int = 2, weight: NotNegative = 1.0, temperature: Positive = 3.0):
        super().__init__()
        if branches < 1:
            raise UserError(f"methods.<name>.branches: found {branches}, expected 1 or more")
        self.count, self.weight, self.temperature = branches, weight, temperature

    def setup(self, context: Context) -> None:
        maps = [name for name in context.student if name.startswith("map")]
        if getattr(context.student_model, "taps", ()):
            raise UserError("one: branches leave the student before its last stage; leave student.taps empty: []")
        if not hasattr(context.student_model, "last_stage_module") or len(maps) < 2:
            from tuition.models import ARCHS

            arch = getattr(context.student_model, "arch", type(context.student_model).__name__)
            raise UserError(f"one: student.arch {arch!r} has no last stage to branch. Valid: {', '.join(ARCHS)}")
        self.before = f"map{len(maps) - 1}"
        width, wide = context.student[self.before][0], context.student["embedding"][0]
        # The last stage of a fresh student: the same layers with weights of its own.
        fresh = [context.make_student().last_stage_module() for _ in range(self.count)]  # type: ignore[operator]
        self.branches = nn.ModuleList(
            nn.Sequential(stage, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, context.classes))
            for stage in fresh
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, self.count + 1, bias=False),
            nn.BatchNorm1d(self.count + 1),
            nn.ReLU(),
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours, shared = student["logits"], student[self.before]
        rivals = [branch(shared).to(ours.dtype) for branch in self.branches]
        every = torch.stack([ours, *rivals])  # (branches + 1, B, C)
        share = F.softmax(self.gate(shared).to(ours.dtype), dim=1)
        ensemble = (share.T[:, :, None] * every).sum(0)
        return {
            "branches": torch.stack([cross_entropy(one, batch.labels) for one in rivals]).sum(),
            "ensemble": cross_entropy(ensemble, batch.labels),
            "mutual": self.weight * torch.stack([kd(one, ensemble, self.temperature) for one in every]).sum(),
        }

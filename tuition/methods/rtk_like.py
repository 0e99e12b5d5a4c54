"""`rtk-like`: after representative teacher keys (RTK, arXiv 2206.12788 [abs]), whose equations we could not read; this one is [ours].

Attention from each of the teacher's stages t to the student's stages s, as in attention-based feature distillation (arXiv 2102.02973):
query q_t = BN(W_t · pooled_t), key k_s = ReLU(BN(W_s · GAP(F_s))), both 128 wide, p_t and p_s learned embeddings of the stages,
    a_ts = softmax_s((⟨q_t, k_s⟩ + ⟨p_t, p_s⟩) / √128) over the `keep` best keys of each sample, the others left out
    loss = weight · Σ_t mean_batch Σ_s a_ts ‖e_t − e_s‖² / positions of t
with e a stage's energy (mean over channels of the square) as a vector of length one. Where sizes differ the larger energy is
average-pooled and normalised again; dividing by the teacher's positions keeps a coarse stage from looking near or far for its size, and
makes the weight that of `at`.
Controls: `keep` of all stages, which is plain attention; `keys: random`, as many keys drawn anew each step; method `at`.
Known: attention learns by the loss alone, so it may prefer what is near already.
"""

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.losses.layers import paired, unit_energies
from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch, Context
from tuition.models.maps import energy
from tuition.ranges import Count, NotNegative
from tuition.signals import arrays_of

WIDTH = 128


class RTKLike(nn.Module):
    source, evidence = "arXiv 2206.12788", "ours"
    signals: tuple[str, ...] = ("pooled", "energy")
    maps = True
    label_use = "needed"

    def __init__(
        self,
        *,
        weight: NotNegative = 1000.0,
        keep: Count = 2,
        keys: Literal["top", "random"] = "top",
    ):
        super().__init__()
        self.weight, self.keep, self.keys = weight, keep, keys

    def setup(self, context: Context) -> None:
        paired(context.student, context.teacher, "energy")  # refuses a network without stages
        self.ours = arrays_of("map", context.student)
        self.energies, self.pooled = (arrays_of(family, context.teacher) for family in ("energy", "pooled"))
        if len(self.energies) != len(self.pooled):
            raise UserError(
                f"rtk-like: needs pooled and energy of the same stages; found {', '.join([*self.pooled, *self.energies])}"
            )
        self.query = nn.ModuleList(projection(context.teacher[name].shape[1]) for name in self.pooled)
        self.key = nn.ModuleList(nn.Sequential(*projection(context.student[name][0]), nn.ReLU()) for name in self.ours)
        self.places = nn.ParameterList(
            nn.init.xavier_normal_(torch.empty(len(names), WIDTH)) for names in (self.energies, self.ours)
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student["logits"]):
            weights = self.attention(student, batch)
            energies = [energy(student[name]) for name in self.ours]
            gaps = torch.stack([_gaps(batch.teacher[name].detach(), energies) for name in self.energies], 1)
            return {"teacher": self.weight * (weights * gaps).sum((1, 2)).mean()}

    def attention(self, student: dict[str, Tensor], batch: Batch) -> Tensor:
        """(B, the teacher's stages, the student's stages), summing to one over the student's."""
        pooled = [batch.teacher[name].detach() for name in self.pooled]
        queries = torch.stack([ask(x) for ask, x in zip(self.query, pooled, strict=True)], 1)
        keys = torch.stack([of(student[x].mean((2, 3))) for of, x in zip(self.key, self.ours, strict=True)], 1)
        scores = (queries @ keys.mT + self.places[0] @ self.places[1].T) / sqrt(WIDTH)
        order = scores.detach()
        if self.keys == "random":
            order = torch.rand(scores.shape, generator=batch.generator, device=scores.device)
        kept = order.topk(min(self.keep, scores.shape[2]), dim=2).indices
        left_out = torch.ones_like(scores, dtype=torch.bool).scatter(2, kept, False)
        return scores.masked_fill(left_out, float("-inf")).softmax(2)


def projection(wide_in: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(wide_in, WIDTH, bias=False), nn.BatchNorm1d(WIDTH))


def _gaps(teacher: Tensor, energies: list[Tensor]) -> Tensor:
    """(B, the student's stages): squared distances of an energy (B, h, w) to theirs, by its positions."""
    positions = teacher.shape[-2] * teacher.shape[-1]
    gaps = []
    for ours in energies:
        one, other = unit_energies(ours, teacher)
        gaps.append((one - other).square().sum(1) / positions)
    return torch.stack(gaps, 1)

"""Comparisons within a batch: every set of groups is one matrix over the batch, so Δ is one matrix product."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tuition.errors import UserError

SHIFTS = 4  # in-batch groups a sample starts, where they are listed
Combine = Literal["difference", "add", "interpolate"]
Labels = Literal["difference", "ce", "none"]
Passes = Literal["apart", "together"]  # of positives and negatives through the student, where groups are listed


class Groups(NamedTuple):
    """Comparisons of a batch of B: `matrix` (m, B) whose rows hold the weights of one group each, so Δ = matrix @ outputs is (m, …).

    `every` says that the batch stands for *all* its groups of this kind (strategy in-batch): a loss that has a closed form
    over all of them may use it, with `square_sum` = Σ w² of one group's weights and `total` = Σ w. Otherwise the matrix lists
    them. `k` is the number of members; weights sum to zero, except those that `combined` made. `parts` are the places of positives
    and of negatives in the batch, where every sample is one of the two.
    """

    matrix: Tensor
    square_sum: float | Tensor
    every: bool
    k: int = 0
    total: float = 0.0
    parts: tuple[Tensor, Tensor] | None = None


def listed(count: int, weights: Tensor) -> Groups:
    """Groups of a batch that is made of `count` groups laid end to end, each with the weights (k,): B = count · k."""
    matrix = torch.kron(torch.eye(count, dtype=weights.dtype), weights[None])
    return Groups(matrix, float((weights**2).sum()), every=False, k=len(weights), parts=_parts(count, weights))


def _parts(count: int, weights: Tensor) -> tuple[Tensor, Tensor]:
    positive = (weights > 0).repeat(count)
    return positive.nonzero()[:, 0], (~positive).nonzero()[:, 0]


def in_batch(size: int, weights: Tensor) -> Groups:
    """Groups among `size` samples that stand in random order: each sample with those at equal steps behind it, for a few steps.

    Every sample stands in as many groups as any other; the order of the batch is the randomness. Raises UserError where a
    batch is smaller than a group.
    """
    k = len(weights)
    if k > size:
        raise UserError(f"compare.sets: groups of k = {k} within a batch need as many samples, but a batch has {size}")
    matrix = torch.zeros(0, size, dtype=weights.dtype)
    for shift in range(1, min(SHIFTS, (size - 1) // (k - 1)) + 1):
        rows = torch.arange(size)
        part = torch.zeros(size, size, dtype=weights.dtype)
        for place, weight in enumerate(weights):
            part[rows, (rows + place * shift) % size] += weight
        matrix = torch.cat([matrix, part])
    return Groups(matrix, float((weights**2).sum()), every=True, k=k)


def combined(groups: Groups, how: Combine, generator: torch.Generator) -> Groups:
    """Pairs combined in another way than a − b: `add` (a + b) / 2; `interpolate` λa + (1 − λ)b, one λ ~ Beta(1, 1) a call.

    Raises UserError where the groups are not pairs.
    """
    if how == "difference":
        return groups
    if groups.k != 2:
        raise UserError(
            f"methods.<name>.combine: {how!r} combines two samples, but groups have k = {groups.k}; "
            "give the method a comparison set of k = 2, or combine: difference"
        )
    matrix = groups.matrix
    share = matrix.new_full((), 0.5)
    if how == "interpolate":  # Beta(1, 1) is the uniform distribution
        share = torch.rand((), generator=generator, device=matrix.device, dtype=matrix.dtype)
    mixed = share * (matrix > 0) + (1 - share) * (matrix < 0)
    return Groups(mixed, share**2 + (1 - share) ** 2, groups.every, k=2, total=1.0)


def difference(outputs: Tensor, groups: Groups) -> Tensor:
    """Δ (m, C) of outputs (B, C), in full precision: half-precision products would lose small differences of large values."""
    with torch.autocast(outputs.device.type, enabled=False):
        return groups.matrix.to(outputs.dtype) @ outputs


def difference_mse(student: Tensor, target: Tensor, groups: Groups) -> Tensor:
    """MSE(Δs, Δt) over comparisons and classes, for student and target outputs (B, C).

    Over *every* group of the batch it is exact in O(B·C) [ours]: with d = s − t, weights of sum W, and members drawn without
    replacement, E‖Σ w·d‖² = (Σw² − W² / B) · Σ_i‖d_i − mean(d)‖² / (B − 1) + W² · ‖mean(d)‖².
    """
    gap = student - target
    if not groups.every:
        return difference(gap, groups).square().mean()
    spread = gap.var(dim=0, correction=1).mean()
    if not groups.total:
        return groups.square_sum * spread
    return (groups.square_sum - groups.total**2 / len(gap)) * spread + groups.total**2 * offset(student, target)


def offset(student: Tensor, target: Tensor) -> Tensor:
    """MSE of the batch's mean outputs (C,): how far the student stands off as a whole, which no difference shows."""
    return F.mse_loss(student.mean(0), target.detach().mean(0))


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Labels (B,) as (B, C) in the type of `like` (B, C)."""
    return F.one_hot(labels, like.shape[1]).to(like.dtype)


def labels_term(
    kind: Labels, logits: Tensor, labels: Tensor, weight: float, apart: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """CKD's term `labels` on logits (B, C) and labels (B,): how far `apart` they are from one-hot labels (B, C), compared as the teacher's
    outputs are; or plain cross-entropy; or no term."""
    if kind == "difference":
        return {"labels": weight * apart(one_hot(labels, logits))}
    return {"labels": weight * F.cross_entropy(logits, labels)} if kind == "ce" else {}


def squared_terms(
    logits: Tensor,
    teacher: Tensor,
    labels: Tensor,
    groups: Groups | None,
    *,
    kind: Labels,
    weight_labels: float,
    weight_relation: float,
) -> dict[str, Tensor]:
    """CKD's terms on logits and teacher logits (B, C) and labels (B,) by squared differences, as `ckd-mse` has them by default."""
    assert groups is not None
    terms = {"relation": weight_relation * difference_mse(logits, teacher.detach(), groups)}
    return terms | labels_term(
        kind, logits, labels, weight_labels, lambda target: difference_mse(logits, target, groups)
    )

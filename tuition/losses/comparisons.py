"""Comparisons within a batch: every set of groups is one matrix over the batch, so Δ is one matrix product."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses import labelled

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


def known_groups(groups: Groups, known: Tensor) -> Tensor:
    """Which groups have only members that are `known` (B,): (m,) bool."""
    part = (groups.matrix != 0).to(groups.matrix.dtype)
    return part @ (~known).to(part.dtype) == 0


def among_known(ours: Tensor, theirs: Tensor, groups: Groups, known: Tensor | None) -> tuple[Tensor, Tensor | float]:
    """The target's Δ (m, C), and what a mean over groups is to be multiplied by, so that it is one over groups of `known` members alone.

    In the other groups the target is what the student says (its Δ, `ours`): no distance between the two, and no gradient.
    """
    if known is None:
        return theirs, 1.0
    whole = known_groups(groups, known)
    return torch.where(whole[:, None], theirs, ours.detach()), labelled.scale(whole).to(ours.dtype)


def difference_mse(student: Tensor, target: Tensor, groups: Groups, known: Tensor | None = None) -> Tensor:
    """MSE(Δs, Δt) over comparisons and classes, for student and target outputs (B, C); only among those that are `known` (B,), where given.

    Over *every* group of the batch it is exact in O(B·C) [ours]: with d = s − t, weights of sum W, and members drawn without
    replacement, E‖Σ w·d‖² = (Σw² − W² / B) · Σ_i‖d_i − mean(d)‖² / (B − 1) + W² · ‖mean(d)‖².
    """
    if not groups.every:
        apart = difference(student - target, groups)
        if known is None:
            return apart.square().mean()
        whole = known_groups(groups, known)
        return torch.where(whole[:, None], apart, 0.0).square().mean() * labelled.scale(whole).to(apart.dtype)
    if known is not None:
        student, target = labelled.filled(student, known), labelled.filled(target, known)
    size, gap = len(student), student - target
    spread = gap.var(dim=0, correction=1).mean()
    if known is not None:
        spread = spread * ((size - 1) / (known.sum() - 1).clamp(min=1)).to(spread.dtype)
    if not groups.total:
        return groups.square_sum * spread
    loss = (groups.square_sum - groups.total**2 / size) * spread + groups.total**2 * offset(student, target)
    if known is not None:  # the 1 / B above is one of the known
        loss = loss - groups.total**2 * (1 / known.sum().clamp(min=1).double() - 1 / size).to(loss.dtype) * spread
    return loss


def offset(student: Tensor, target: Tensor) -> Tensor:
    """MSE of the batch's mean outputs (C,): how far the student stands off as a whole, which no difference shows."""
    return F.mse_loss(student.mean(0), target.detach().mean(0))


def labels_term(
    kind: Labels, logits: Tensor, labels: Tensor, weight: float, apart: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    """CKD's term `labels` on logits (B, C) and labels (B,): how far `apart` they are from one-hot labels (B, C), compared as the teacher's
    outputs are, among the samples whose label is known (B,); or plain cross-entropy; or no term."""
    if kind == "difference":
        target = labelled.one_hot(labels, logits.shape[1]).to(logits.dtype)
        return {"labels": weight * apart(target, labelled.is_known(labels))}
    return {"labels": weight * labelled.cross_entropy(logits, labels)} if kind == "ce" else {}


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
        kind, logits, labels, weight_labels, lambda target, known: difference_mse(logits, target, groups, known)
    )

"""Comparisons within a batch: every set of groups is one zero-sum matrix over the batch, so Δ is one matrix product."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFTS = 4  # in-batch groups a sample starts, where they are listed


class Groups(NamedTuple):
    """Comparisons of a batch of B: `matrix` (m, B) with rows summing to zero, so Δ = matrix @ outputs is (m, …).

    `every` says that the batch stands for *all* its groups of this kind (strategy in-batch): a loss that has a closed form
    over all of them may use it, with `square_sum` = Σ w² of one group's weights. Otherwise the matrix lists them.
    """

    matrix: Tensor
    square_sum: float
    every: bool


def listed(count: int, weights: Tensor) -> Groups:
    """Groups of a batch that is made of `count` groups laid end to end, each with the weights (k,): B = count · k."""
    return Groups(
        torch.kron(torch.eye(count, dtype=weights.dtype), weights[None]), float((weights**2).sum()), every=False
    )


def in_batch(size: int, weights: Tensor) -> Groups:
    """Groups among `size` samples that stand in random order: each sample with those at equal steps behind it, for a few steps.

    Every sample stands in as many groups as any other; the order of the batch is the randomness.
    """
    k = len(weights)
    matrix = torch.zeros(0, size, dtype=weights.dtype)
    for shift in range(1, min(SHIFTS, (size - 1) // (k - 1)) + 1):
        rows = torch.arange(size)
        part = torch.zeros(size, size, dtype=weights.dtype)
        for place, weight in enumerate(weights):
            part[rows, (rows + place * shift) % size] += weight
        matrix = torch.cat([matrix, part])
    return Groups(matrix, float((weights**2).sum()), every=True)


def difference(outputs: Tensor, groups: Groups) -> Tensor:
    """Δ (m, C) of outputs (B, C)."""
    return groups.matrix @ outputs


def difference_mse(student: Tensor, target: Tensor, groups: Groups) -> Tensor:
    """MSE(Δs, Δt) over comparisons and classes, for student and target outputs (B, C).

    Over *every* group of the batch it is exact in O(B·C) [ours]: with d = s − t and weights that sum to zero, drawing members
    without replacement gives E‖Σ w·d‖² = Σw² · Σ_i‖d_i − mean(d)‖² / (B − 1).
    """
    gap = student - target
    if groups.every:
        return groups.square_sum * gap.var(dim=0, correction=1).mean()
    return difference(gap, groups).square().mean()


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Labels (B,) as (B, C) in the type of `like` (B, C)."""
    return F.one_hot(labels, like.shape[1]).to(like.dtype)

"""Mixing samples: shares drawn on the device, partners, boxes; and the losses of a student that sees mixed samples.

A mixture of B samples is `rows` (B, k), which samples of the batch each mixed one is made of, and `shares` (B, k), which sum to one.
Every random number comes from the generator that is given, and none is read back from the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tuition.losses import labelled


def draw_shares(count: int, k: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Shares (count, k) float32 of a symmetric Dirichlet(alpha), on the generator's device; for k = 2, λ ~ Beta(alpha, alpha)."""
    device = generator.device
    if k == 2 and alpha == 1:  # uniform
        first = torch.rand(count, 1, generator=generator, device=device)
        return torch.cat([first, 1 - first], dim=1)
    return torch._sample_dirichlet(torch.full((count, k), alpha, device=device), generator=generator)


def draw_ratios(count: int, k: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Shares (count, k) float32, the same in every row: k draws of Beta(alpha, alpha), divided by their sum."""
    drawn = draw_shares(k, 2, alpha, generator)[:, 0]
    return (drawn / drawn.sum()).expand(count, k)


def draw_rows(count: int, k: int, generator: torch.Generator) -> Tensor:
    """Partners (count, k) int64: each sample itself, then k − 1 permutations of the batch. A sample may meet itself."""
    device = generator.device
    others = [torch.randperm(count, generator=generator, device=device) for _ in range(k - 1)]
    return torch.stack([torch.arange(count, device=device), *others], dim=1)


def mix(values: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Σ_k shares[:, k] · values[rows[:, k]], for values (n, …): (B, …)."""
    parts = [
        shares[:, place].to(values.dtype).view(-1, *(1,) * (values.dim() - 1)) * values[rows[:, place]]
        for place in range(rows.shape[1])
    ]
    return torch.stack(parts).sum(0)


def draw_boxes(lam: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """CutMix's boxes as masks (B, 1, H, W) bool, true inside, for the share lam (B,) of what stays outside.

    Sides are √(1 − λ) of the image's, rounded down; centres are uniform over the pixels; what reaches over the edge is cut off.
    """
    side = (1 - lam).clamp(0, 1).sqrt()
    inside = []
    for length in (height, width):
        half = (side * length).long() // 2
        centre = torch.randint(0, length, lam.shape, generator=generator, device=lam.device)
        place = torch.arange(length, device=lam.device)
        inside.append((place >= (centre - half)[:, None]) & (place < (centre + half)[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def mixed_labels(labels: Tensor, rows: Tensor, shares: Tensor, classes: int) -> Tensor:
    """One-hot labels (n,) in a mixture: (B, classes), rows summing to one where every part has a label."""
    return mix(labelled.one_hot(labels, classes).to(shares.dtype), rows, shares)


def all_known(labels: Tensor, rows: Tensor) -> Tensor:
    """Which mixed samples (B,) are of labelled ones alone, for labels (n,)."""
    return labelled.is_known(labels)[rows].all(1)


def soft_cross_entropy(logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """−mean Σ target · log softmax(logits), of logits (B, C) and probabilities (B, C), which get no gradient.

    The mean is over the batch, or over what is `known` (B,) of it.
    """
    each = (target.detach().to(logits.dtype) * F.log_softmax(logits, dim=1)).sum(1)
    return -(each.mean() if known is None else labelled.mean(each, known))


class Mixture(NamedTuple):
    """What each mixed sample is made of, `rows` and `shares` (B, k), and the teacher's logits (B, C) on the clean samples."""

    rows: Tensor
    shares: Tensor
    clean: Tensor

    def signals(self, teacher: dict[str, Tensor]) -> dict[str, Tensor]:
        """The teacher's signals where mixed samples stand in place of the clean ones: its logits become their mix."""
        return {**teacher, "logits": mix(self.clean, self.rows, self.shares)}

    def terms(self, logits: Tensor, labels: Tensor, weight_labels: float, weight_teacher: float) -> dict[str, Tensor]:
        """The terms of a student that saw only the mixed samples and gave logits (B, C) for them, the clean ones having labels (B,):
        cross-entropy on the mixed labels, where all parts have one, and on the same mix of the teacher's softmax (T = 1) on the clean
        samples."""
        hard = mixed_labels(labels, self.rows, self.shares.to(logits.dtype), logits.shape[1])
        soft = mix(F.softmax(self.clean, dim=1), self.rows, self.shares)
        return {
            "labels": weight_labels * soft_cross_entropy(logits, hard, all_known(labels, self.rows)),
            "teacher": weight_teacher * soft_cross_entropy(logits, soft),
        }

"""Ranks that have a gradient."""

import torch
from torch import Tensor

from tuition.losses.relations import correlation


def soft_rank(scores: Tensor, temperature: float) -> Tensor:
    """Ranks from 1 (the least) along the last dimension: ½ + Σ_j sigmoid((x_i − x_j) / temperature) [ours].

    As the temperature falls to 0 they become the ranks, ties sharing their mean; as it rises they become linear in the scores.
    O(C²) time and memory a row.
    """
    return 0.5 + torch.sigmoid((scores[..., :, None] - scores[..., None, :]) / temperature).sum(-1)


def soft_spearman(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Pearson's r of the soft ranks of a and b (B, C), a row: (B,). Spearman's ρ as the temperature falls to 0."""
    return correlation(soft_rank(a, temperature), soft_rank(b, temperature), dim=1)

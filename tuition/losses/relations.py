"""How samples of a batch stand to each other: distances, angles, Grams, correlations. What relational methods share.

All of it in float32 or wider: callers switch autocast off (`full_precision`), since a bf16 product inside a distance, a
softmax or a logarithm is noise.
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-8


def full_precision(like: Tensor) -> AbstractContextManager:
    """A context without autocast on the device of `like`."""
    return torch.autocast(like.device.type, enabled=False)


def correlation(a: Tensor, b: Tensor, dim: int, centred: bool = True) -> Tensor:
    """Pearson's r of a and b along `dim`, or their cosine where not `centred`; 0 where one of them is constant (or zero)."""
    if centred:
        a, b = a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True)
    return (a * b).sum(dim) / (a.norm(dim=dim) * b.norm(dim=dim) + EPS)


def gram_rows(x: Tensor) -> Tensor:
    """(B, d) -> (B, B): the Gram matrix, each row divided by its length."""
    return F.normalize(x @ x.T, dim=1)


def distances(x: Tensor) -> Tensor:
    """Euclidean distances within (B, d): (B, B), from differences and not from products, so that equal samples are at 0."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def cosines_at(anchors: slice, gram: Tensor, inverse: Tensor) -> Tensor:
    """cos of the angle at sample i between j and k: (A, B, B) for the A anchors i of a slice; 0 where two of them coincide.

    From the Gram matrix (B, B) of centred samples and `inverse` (B, B), 1 / distance and 0 where the distance is 0:
    ⟨x_j − x_i, x_k − x_i⟩ = g_jk − g_ij − g_ik + g_ii, so no (B, B, d) tensor is made.
    """
    at, scale = gram[anchors], inverse[anchors]
    own = gram.diagonal()[anchors, None] / 2
    towards = at - own  # g_ij − g_ii / 2, once for j and once for k
    return (gram - towards[:, :, None] - towards[:, None, :]) * scale[:, :, None] * scale[:, None, :]

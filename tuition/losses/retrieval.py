"""What methods of retrieval share: of scores (Q, K) of queries and documents, and of embeddings (n, d) of length 1. All are means."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def contrastive(logits: Tensor, relevant: Tensor) -> Tensor:
    """−mean over a query's relevant documents of log softmax(logits (Q, K)), mean over the queries that have one; 0 where none has.

    All documents of the batch that are not relevant are the others (InfoNCE, arXiv 1807.03748 [mem])."""
    number = relevant.sum(dim=1)
    each = -(F.log_softmax(logits, dim=1) * relevant).sum(dim=1) / number.clamp(min=1)
    return each.sum() / (number > 0).sum().clamp(min=1)


def listwise(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of softmax(logits) against softmax(target), both (Q, K), mean over queries."""
    return -(F.softmax(target, dim=1) * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def margins(scores: Tensor, target: Tensor, relevant: Tensor) -> Tensor:
    """Mean over queries and pairs of a relevant document p and another one n of ((s_p − s_n) − (t_p − t_n))²; 0 where there is no pair.

    By sums over each query's documents, so no list of pairs is made."""
    apart = scores - target
    apart = apart - apart.mean(dim=1, keepdim=True)  # which no margin sees, and smaller numbers cancel less
    is_relevant, other = relevant.to(apart.dtype), (~relevant).to(apart.dtype)
    number, others = is_relevant.sum(dim=1), other.sum(dim=1)
    squares = others * (apart**2 * is_relevant).sum(dim=1) + number * (apart**2 * other).sum(dim=1)
    total = squares - 2 * (apart * is_relevant).sum(dim=1) * (apart * other).sum(dim=1)
    return total.sum() / (number * others).sum().clamp(min=1)


def distance(embeddings: Tensor, target: Tensor) -> Tensor:
    """Mean over rows of ‖e − t‖₂ of (n, d)."""
    return torch.sqrt(((embeddings - target) ** 2).sum(dim=1) + 1e-12).mean()


def comparisons(embeddings: Tensor, target: Tensor) -> Tensor:
    """Mean over pairs i ≠ j of ‖(e_i − e_j) − (t_i − t_j)‖²: the differences of two samples held against the teacher's (arXiv 2311.02253).

    It is 2n / (n − 1) times the mean squared distance of e − t from its own mean; 0 for one row."""
    apart = embeddings - target
    apart = apart - apart.mean(dim=0)
    return 2 * (apart**2).sum() / max(1, len(apart) - 1)


def projection(width: int, teacher_width: int) -> nn.Module:
    """From the student's embedding to the teacher's width: a linear layer where they differ, nothing where they do not."""
    return nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width, bias=False)

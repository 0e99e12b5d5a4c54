"""What methods of language models share: losses of N tokens, in float32, from the student's last hidden states and its head."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CHUNK = 2048  # tokens whose logits are held at a time: those of all would take the most memory of a step
LEAST = 1e-7  # of a probability of the rest, whose logarithm is taken

Loss = Callable[[Tensor, slice], Tensor]  # logits (n, V) float32 of some tokens, and which -> (n,)


def each(states: Tensor, head: nn.Module, loss: Loss) -> Tensor:
    """The loss (N,) of each token, from hidden states (N, h), a chunk at a time; gradients compute the logits of a chunk again."""

    def part(some: Tensor, place: slice) -> Tensor:
        return loss(head(some).float(), place)

    found = []
    for start in range(0, len(states), CHUNK):
        place = slice(start, start + CHUNK)
        if len(states) > CHUNK and torch.is_grad_enabled():
            found.append(checkpoint(part, states[place], place, use_reentrant=False))
        else:
            found.append(part(states[place], place))
    return torch.cat(found)


def nll(targets: Tensor) -> Loss:
    """−log q(target), of targets (N,)."""
    return lambda logits, place: F.cross_entropy(logits, targets[place], reduction="none")


def forward_kl(values: Tensor, indices: Tensor) -> Loss:
    """KL(p ‖ q) of the teacher's k likeliest tokens, values (N, k) log-probabilities and indices (N, k), and of one bin for all others:
    Σ_k p_i (log p_i − log q_i) + p_r (log p_r − log q_r), p_r and q_r what the k leave out."""

    def loss(logits: Tensor, place: slice) -> Tensor:
        log_p, log_q = values[place], F.log_softmax(logits, dim=1).gather(1, indices[place])
        p = log_p.exp()
        rest_p, rest_q = (1 - one.sum(dim=1) for one in (p, log_q.exp()))
        inside = (p * (log_p - log_q)).sum(dim=1)
        rest_p = rest_p.clamp(min=0)
        return inside + rest_p * (rest_p.clamp(min=LEAST).log() - rest_q.clamp(min=LEAST).log())

    return loss

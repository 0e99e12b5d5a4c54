"""Loss terms on labels of which some, or all, may be unknown (−1): means over the labelled samples of a batch, 0 where it has none.

So a term's weight against the teacher's does not depend on how many samples have labels. Where all have, every figure and gradient is
what it is without this, to the bit; and no value is read back from the device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

UNKNOWN = -1  # the label of a sample of which none is known


def is_known(labels: Tensor) -> Tensor:
    """Which of the labels (B,) are known, (B,) bool."""
    return labels >= 0


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits (B, C) and labels (B,), the mean over labelled samples."""
    loss = F.cross_entropy(logits, labels, ignore_index=UNKNOWN, label_smoothing=label_smoothing)
    return torch.where(is_known(labels).any(), loss, loss.new_zeros(()))  # without labels it is 0 / 0


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (B,) as (B, classes) int64; a row of zeros where the label is unknown."""
    return F.one_hot(labels.clamp(min=0), classes) * is_known(labels)[:, None]


def scale(known: Tensor) -> Tensor:
    """What makes a mean over B entries, of which those that are not `known` (B,) are 0, the mean over the known ones: B / their number.

    0 where none is known.
    """
    count = known.sum()
    return torch.where(count > 0, len(known) / count.clamp(min=1), 0.0)


def mean(each: Tensor, known: Tensor) -> Tensor:
    """The mean of `each` (B,) over what is `known` (B,)."""
    return torch.where(known, each, 0.0).mean() * scale(known).to(each.dtype)


def filled(values: Tensor, known: Tensor) -> Tensor:
    """values (B, C) where the rows that are not `known` (B,) are the mean of those that are: it has their mean and no further spread."""
    mean = torch.where(known[:, None], values, 0.0).sum(0) / known.sum().clamp(min=1)
    return torch.where(known[:, None], values, mean)


def known_or(labels: Tensor, logits: Tensor) -> Tensor:
    """The labels (B,) that are known, and elsewhere the top class of logits (B, C), such as the teacher's."""
    return torch.where(is_known(labels), labels, logits.argmax(1))

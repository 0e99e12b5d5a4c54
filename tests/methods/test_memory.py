"""What a loss holds at once: nothing that grows faster than the square of the batch, whatever the number of classes."""

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms
from torch.utils._python_dispatch import TorchDispatchMode

from tuition.comparisons import group_weights
from tuition.losses.comparisons import in_batch
from tuition.methods.rkd import ENTRIES

RNG = np.random.default_rng(0)
C, D, N = 100, 64, 600
RELATIONAL = ["icd", "rkd", "sp", "pkt", "cc", "dist", "ckd-mse", "ckd-kl"]


class Largest(TorchDispatchMode):
    """Notes the largest number of entries that an operation makes."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made_now = func(*args, **(kwargs or {}))
        for one in made_now if isinstance(made_now, tuple | list) else [made_now]:
            if isinstance(one, torch.Tensor):
                self.entries = max(self.entries, one.untyped_storage().nbytes() // one.element_size())
        return made_now


def largest(name, size):
    """The entries of the largest tensor in a step, forward and backward, on a batch of this size."""
    bank = {"embedding": RNG.normal(size=(N, D)), "logits": RNG.normal(size=(N, C))}
    student = {"embedding": RNG.normal(size=(size, D)), "logits": RNG.normal(size=(size, C))}
    labels = np.arange(N) % C
    objective = made(name, {}, context_of(student, bank, labels=labels, classes=C))
    groups = in_batch(size, torch.from_numpy(group_weights(2))) if name.startswith("ckd") else None
    batch = batch_of(labels[:size], {key: value[:size] for key, value in bank.items()}, groups=groups)
    with Largest() as seen:
        terms(objective, student, batch)
    return seen.entries


@pytest.mark.parametrize("name", RELATIONAL)
def test_no_tensor_outgrows_the_square_of_the_batch(name):
    """rkd's angles, B³ of them, are held so many at a time; ckd-kl's groups are four a sample."""
    for size in (192, 384):
        assert largest(name, size) <= max(4 * size**2, ENTRIES if name == "rkd" else 0)


def test_all_pairs_of_logits_are_never_made():
    """`ckd-mse` within a batch: no more than the logits themselves, where the pairs would be B times as many."""
    assert largest("ckd-mse", 384) <= 384 * C

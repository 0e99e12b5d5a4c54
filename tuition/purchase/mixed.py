"""Mixed inputs: which are bought, drawn before the teacher is called (MixKD, arXiv 2011.00593, on samples as they are stored).

A budget of n calls buys n // 2 of them beside its clean samples. The j-th one mixes the j-th sample in the order of purchase with one
that comes before it, so that those of a smaller budget are the first of a larger one, and are paid once.
"""

import hashlib
from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from tuition.inputs.protocol import Inputs, Samples
from tuition.ledger.keys import Request


@dataclass(frozen=True)
class Mixtures:
    """Mixed inputs that are bought: `rows` of them by request, in the order of purchase.

    `inputs` (m, …) as samples are stored; `first`, `second` (m,): positions in the pool; `share` (m,) float32: of the first.
    """

    rows: dict[Request, int]
    inputs: Samples
    first: np.ndarray
    second: np.ndarray
    share: np.ndarray

    @property
    def requests(self) -> tuple[Request, ...]:
        """In the order of purchase."""
        return tuple(self.rows)


def plan_mixtures(
    inputs: Inputs,
    order: np.ndarray,
    samples: Samples,
    ids: np.ndarray,
    budget: int,
    seed: int,
    clean: Container[Request],
) -> Mixtures:
    """The mixed inputs of a budget. One so nearly a sample among `clean` that it is that sample is left out: it is bought already."""
    first, second, share = draw(order, ids, budget, seed)
    mixed = inputs.mix(samples[first], samples[second], share) if len(first) else samples[first]
    requests = (Request(inputs.content_id(one)) for one in mixed)  # a mixed input is a sample like any other
    rows = {request: row for row, request in enumerate(requests) if request not in clean}
    return Mixtures(rows, mixed, first, second, share)


def draw(order: np.ndarray, ids: np.ndarray, budget: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first (m,), second (m,) positions in the pool, lam (m,) float32 share of the first, uniform in 0..1), m = budget // 2.

    Partners are uniform among the samples before (the first one takes the second); the same sample draws the same numbers in
    every pool. Samples early in the order are partners more often.
    """
    first = order[: budget // 2]
    uniform = np.array([_two(ids[i], seed) for i in first]).reshape(-1, 2)
    before = np.arange(len(first))
    partner = np.where(before == 0, 1, np.floor(uniform[:, 0] * before).astype(np.int64))
    return first, order[partner], uniform[:, 1].astype(np.float32)


def _two(id: bytes, seed: int) -> list[float]:
    """Two numbers uniform in 0..1 from a content id and a seed."""
    digest = hashlib.sha256(f"mixed/{seed}/".encode() + id).digest()
    return [int.from_bytes(digest[at : at + 6], "big") / 2**48 for at in (0, 6)]

"""What strategies order: the distinct samples of the pool, in shuffled order, so that equals are told apart by their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pool:
    """`ids` (n,) S64 and `labels` (n,) int64 of the samples, `classes` their names.

    `images` (N, C, H, W) uint8, or None, is all of the pool, which may be larger than memory; `rows` (n,) are the samples' places there.
    """

    ids: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]
    images: np.ndarray | None
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The samples' images (≤ size, C, H, W), in order."""
        assert self.images is not None
        for start in range(0, len(self), size):
            yield self.images[self.rows[start : start + size]]

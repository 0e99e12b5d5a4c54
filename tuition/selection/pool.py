"""What strategies order: the distinct samples of the pool, in shuffled order, so that equals are told apart by their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuition.inputs.protocol import Inputs, Samples


@dataclass(frozen=True)
class Pool:
    """`ids` (n,) S64 and `labels` (n,) int64 of the samples, `classes` their names.

    `samples` (N, …), as they are stored, is all of the pool, which may be larger than memory, and `inputs` what they are; None where no
    strategy looks at them. `rows` (n,) are the samples' places there. `barred`: content ids that cannot be bought, and are not in it.
    """

    ids: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]
    samples: Samples | None
    rows: np.ndarray
    inputs: Inputs | None = None
    barred: frozenset[bytes] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The samples (≤ size, …), in order."""
        assert self.samples is not None
        for start in range(0, len(self), size):
            yield self.samples[self.rows[start : start + size]]

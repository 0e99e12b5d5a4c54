"""What strategies order: the distinct samples of the pool, in shuffled order, so that equals are told apart by their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuition.inputs.protocol import Inputs, Samples


@dataclass(frozen=True)
class Pool:
    """`ids` (n,) S64 and `labels` (n,) int64 of the samples, `classes` their names.

    `samples` (N, …), as they are stored, is all of the pool, which may be larger than memory, and `inputs` what they are; None where no
    strategy looks at them. `rows` (n,) are the samples' places there. `barred`: content ids that cannot be bought, and are not in it.
    `encoded` (N, d): features of all of it; None: there are none. `relevance` (m, 2): places in it of a query and of a document that
    answers it, and `documents` how many of all stand before its queries, of a task of retrieval.
    """

    ids: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]
    samples: Samples | None
    rows: np.ndarray
    inputs: Inputs | None = None
    barred: frozenset[bytes] = frozenset()
    encoded: np.ndarray | None = None
    relevance: np.ndarray | None = None
    documents: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, count: int) -> "Pool":
        """The first so many: as the pool is shuffled, a sample of it."""
        return replace(self, ids=self.ids[:count], labels=self.labels[:count], rows=self.rows[:count])

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The samples (≤ size, …), in order."""
        assert self.samples is not None
        for start in range(0, len(self), size):
            yield self.samples[self.rows[start : start + size]]

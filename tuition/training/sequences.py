"""Batches of prompts and texts, by step."""

from dataclasses import dataclass

import numpy as np
import torch

from tuition.methods.language import LanguageBatch
from tuition.models.sequences import lay_out


@dataclass(frozen=True)
class TextSet:
    """n sequences: the tokens of prompts and of texts, and, where the method reads them, the teacher's top_values (n, L, k) and top_indices
    (n, L, k) at each token of these texts; `context`: tokens of both, behind which nothing is read."""

    prompts: list[list[int]]
    texts: list[list[int]]
    context: int
    top_values: np.ndarray | None = None
    top_indices: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """What a run learns from, as arrays by name."""
        flat = {
            name: np.array([one for row in getattr(self, name) for one in [*row, -1]], dtype=np.int64)
            for name in ("prompts", "texts")
        }
        tops = {name: getattr(self, name) for name in ("top_values", "top_indices")}
        return flat | {name: value for name, value in tops.items() if value is not None}


class TextLoader:
    """An endless sequence of batches, by step: `batch_size` sequences without replacement, in an order of each epoch's own."""

    def __init__(self, data: TextSet, *, batch_size: int, seed: int, device: torch.device):
        self.data, self.seed, self.device = data, seed, device
        self.batch_size = min(batch_size, len(data.texts))
        self.per_epoch = len(data.texts) // self.batch_size
        self.order, self.epoch = np.empty(0, dtype=np.int64), -1

    def batch(self, step: int) -> LanguageBatch:
        """The batch of `step` (from 0)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data.texts))
            self.epoch = epoch
        rows = self.order[place * self.batch_size : (place + 1) * self.batch_size]
        layout = lay_out(
            [self.data.prompts[row] for row in rows], [self.data.texts[row] for row in rows], self.data.context
        )

        def on_device(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).to(self.device)

        values, indices = self.data.top_values, self.data.top_indices
        at = rows[layout.owner], layout.number
        return LanguageBatch(
            tokens=on_device(layout.tokens),
            places=on_device(layout.places),
            targets=on_device(layout.targets),
            top_values=None if values is None else on_device(values[at].astype(np.float32)),
            top_indices=None if indices is None else on_device(indices[at].astype(np.int64)),
            step=step,
        )

"""Texts as training has them: their tokens one after another on the device, and taken from there in batches."""

import torch
from torch import Tensor


class PlacedTexts:
    """Tokens (T,) int32 of n texts, and where each begins: `starts` (n + 1,) int64, on one device.

    A batch is as wide as its longest text. Of each token `batch` makes a 0, which stands for none, with the probability `dropout`.
    """

    def __init__(self, tokens: Tensor, starts: Tensor, dropout: float):
        # One 0 behind all, so that there is one where no text has a token.
        self.tokens, self.starts, self.dropout = torch.cat([tokens, tokens.new_zeros(1)]), starts, dropout
        self.device = tokens.device

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def stored(self) -> Tensor:
        """Tokens (n, longest) int32 of all texts."""
        return self._padded(torch.arange(len(self), device=self.device))

    def normalise(self, stored: Tensor) -> Tensor:
        return stored

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens (B, longest) int32 of texts (B,)."""
        found = self._padded(index)
        if not self.dropout:
            return found
        chance = torch.rand(found.shape, generator=generator, device=self.device)
        return found.masked_fill(chance < self.dropout, 0)

    def _padded(self, index: Tensor) -> Tensor:
        first, length = self.starts[index], self.starts[index + 1] - self.starts[index]
        # How wide a batch is, the host must know: on a GPU this waits for the device once a step.
        column = torch.arange(max(1, int(length.max())), device=self.device)
        there = column < length[:, None]
        return self.tokens[(first[:, None] + column).where(there, 0)].where(there, 0)

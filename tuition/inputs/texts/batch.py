"""Texts as training has them: their tokens one after another on the device, and taken from there in batches."""

import torch
from torch import Tensor

SPAN = 3  # tokens of a run that is left out together


class PlacedTexts:
    """Tokens (T,) int32 of n texts, and where each begins: `starts` (n + 1,) int64, on one device.

    A batch is as wide as its longest text. Of each token `batch` makes a 0, which stands for none, with the probability `dropout`, and with
    the probability `spans` as one of SPAN tokens in a row.
    """

    def __init__(self, tokens: Tensor, starts: Tensor, dropout: float = 0.0, spans: float = 0.0):
        # One 0 behind all, so that there is one where no text has a token.
        self.tokens, self.starts = torch.cat([tokens, tokens.new_zeros(1)]), starts
        self.dropout = dropout
        self.begins = 1 - (1 - spans) ** (1 / SPAN)  # the probability that a run begins at a place
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
        if self.dropout:
            chance = torch.rand(found.shape, generator=generator, device=self.device)
            found = found.masked_fill(chance < self.dropout, 0)
        if self.begins:
            # A run may begin before a text, so that its first tokens are as likely to lie in one as all others.
            places = (len(found), found.shape[1] + SPAN - 1)
            begun = torch.rand(places, generator=generator, device=self.device) < self.begins
            found = found.masked_fill(begun.unfold(1, SPAN, 1).any(dim=2), 0)
        return found

    def _padded(self, index: Tensor) -> Tensor:
        first, length = self.starts[index], self.starts[index + 1] - self.starts[index]
        # How wide a batch is, the host must know: on a GPU this waits for the device once a step.
        column = torch.arange(max(1, int(length.max())), device=self.device)
        there = column < length[:, None]
        return self.tokens[(first[:, None] + column).where(there, 0)].where(there, 0)

"""`text-transformer`: a small transformer of texts from scratch. Normalised before each part, positions learnt, no dropout.

A text's embedding is the mean over its tokens. Without dropout, which a student that is held against its teacher's answers does not want.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import OfTexts

LAYERS = {"text-transformer": 2, "text-transformer-3": 3, "text-transformer-4": 4}
WIDTH, HEADS = 128, 4


class Block(nn.Module):
    """Attention among a text's tokens, and a hidden layer of each."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_hidden = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.queries_keys_values, self.mixed = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.hidden, self.narrowed = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, L, d) -> (B, L, d); `seen` (B, 1, 1, L): which tokens may be looked at."""
        parts = self.queries_keys_values(self.before_attention(x)).unflatten(2, (3, HEADS, WIDTH // HEADS))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        x = x + self.mixed(found.transpose(1, 2).flatten(2))
        return x + self.narrowed(F.gelu(self.hidden(self.before_hidden(x))))


class TextTransformer(OfTexts):
    def __init__(self, vocabulary: int, classes: int, max_tokens: int, layers: int):
        super().__init__(WIDTH, classes)
        self.embedding = nn.Embedding(vocabulary, WIDTH, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(max_tokens, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.last = nn.LayerNorm(WIDTH)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, L) tokens -> (B, d)."""
        known = x.ne(0)
        # A text without a token looks at all its places: attention to none is not a number.
        seen = (known | ~known.any(dim=1, keepdim=True))[:, None, None]
        # Places are looked up and not sliced: a trace of a slice would be for texts of no more tokens than there are places.
        places = torch.arange(x.shape[1], device=x.device).clamp(max=len(self.positions) - 1)
        found = self.embedding(x) + self.positions[places]
        for block in self.blocks:
            found = block(found, seen)
        return mean_of_known(self.last(found), known)


def mean_of_known(tokens: Tensor, known: Tensor) -> Tensor:
    """The mean (B, d) of the tokens (B, L, d) that are `known` (B, L); zeros where none is."""
    weight = known.unsqueeze(2).to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

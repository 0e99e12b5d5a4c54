"""Small networks of texts.

`text-cnn`: convolutions of an embedding over 3, 4 and 5 tokens, and of each filter the largest value (Kim 2014, arXiv 1408.5882, without
dropout, which a student that is held against its teacher's answers does not want). `ngram`: the mean embedding of hashed n-grams, and one
hidden layer (after fastText, arXiv 1607.01759). `static`: the same of an encoder's tokens, begun with its vectors (`token_vectors.py`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.description import NetworkDescription
from tuition.models.network import OfTexts
from tuition.models.text_transformer import LAYERS, TextTransformer


class TextCNN(OfTexts):
    WIDTHS = (3, 4, 5)  # tokens

    def __init__(self, vocabulary: int, classes: int, embedding: int = 128, filters: int = 128):
        super().__init__(filters * len(self.WIDTHS), classes)
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, filters, width) for width in self.WIDTHS)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, L) tokens -> (B, d). Looked at is each window that begins with a token."""
        begins = x.ne(0).unsqueeze(1)
        embedded = F.pad(self.embedding(x).transpose(1, 2), (0, max(self.WIDTHS) - 1))
        found = []
        for width, convolution in zip(self.WIDTHS, self.convolutions, strict=True):
            windows = F.relu(convolution(embedded[..., : x.shape[1] + width - 1]))
            found.append((windows * begins).amax(dim=2))
        return torch.cat(found, dim=1)


class NGram(OfTexts):
    def __init__(self, vocabulary: int, classes: int, embedding: int = 64, hidden: int = 128):
        super().__init__(hidden, classes)
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.hidden = nn.Linear(embedding, hidden)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, L) hashed n-grams -> (B, d)."""
        # Where each text begins is spelt out: a trace of `embedding_bag` with rows alone fails for a batch of one.
        starts = torch.arange(x.shape[0], dtype=x.dtype, device=x.device) * x.shape[1]
        mean = F.embedding_bag(x.flatten(), self.embedding.weight, starts, mode="mean", padding_idx=0)
        return F.relu(self.hidden(mean))


class Static(NGram):
    def __init__(self, vocabulary: int, classes: int):
        super().__init__(vocabulary, classes, embedding=128, hidden=256)


def build(model: NetworkDescription) -> OfTexts:
    arch, vocabulary, classes = model["arch"], model["vocabulary"], model["classes"]
    if arch in LAYERS:
        return TextTransformer(vocabulary, classes, model["max_tokens"], LAYERS[arch])
    return {"text-cnn": TextCNN, "ngram": NGram, "static": Static}[arch](vocabulary, classes)

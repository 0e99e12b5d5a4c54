"""What every model here speaks, timm's interface, and what our own architectures have in common."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Maps(NamedTuple):
    """Maps (B, c, h, w) inside a network, shallow → deep, as the field's benchmark takes them (RepDistiller [code]).

    `stem` what the first stage sees, None where it is not known; `stages` what each stage gives; `preact` the same before
    the activation after it (where the next stage begins with batch norm, after that); `last` the last feature map, whose
    average is the embedding.
    """

    stem: Tensor | None
    stages: list[Tensor]
    preact: list[Tensor]
    last: Tensor


class Network(nn.Module):
    """A classifier that can be split at its last feature map and at its embedding. timm's own models speak
    it without being one, so it is asserted of them."""

    arch: str  # the name under which it was built
    taps: tuple[str, ...]  # modules whose outputs are its maps

    read_taps: Callable[[nn.Module, Tensor], Maps]  # where it has taps (`tuition/models/maps.py`)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the last feature map."""
        raise NotImplementedError

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The last feature map -> the logits (B, classes), or with `pre_logits` the embedding (B, d)."""
        raise NotImplementedError

    def get_classifier(self) -> nn.Linear:
        """The last layer: embedding -> logits."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        return self.forward_head(self.forward_features(x))


class Staged(Network):
    """An architecture of ours: stages, the average of the last map, and one linear layer, the attribute that `HEAD` names."""

    HEAD = "classifier"

    def forward_maps(self, x: Tensor) -> Maps:
        """All that methods read inside it."""
        raise NotImplementedError

    def last_stage_module(self) -> nn.Module:
        """From the last stage map but one to the last feature map; the network's own layers, so copy it before training it apart."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        return self.forward_maps(x).last

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        embedding = F.adaptive_avg_pool2d(features, 1).flatten(1)
        return embedding if pre_logits else self.get_classifier()(embedding)

    def get_classifier(self) -> nn.Linear:
        return getattr(self, self.HEAD)


class OfTexts(Network):
    """An architecture for texts.

    Its input is tokens (B, L) of whole numbers, 0 where there is none; what stands behind a text changes nothing. The last feature is the
    embedding (B, d), and one linear layer follows. There are no maps, but those of taps (`encoders.py`).
    """

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.taps = ()
        self.classifier = nn.Linear(width, classes)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        return features if pre_logits else self.classifier(features)

    def get_classifier(self) -> nn.Linear:
        return self.classifier


class Group(nn.Sequential):
    """Blocks of one width, one after another."""

    def forward(self, x: Tensor, preact: list[Tensor] | None = None) -> Tensor:
        """Where a list is given, what the last block has before its activation is added to it."""
        *first, last = self
        for block in first:
            x = block(x)
        return last(x, preact)


class Tapped(nn.Sequential):
    """Layers, one after another."""

    def forward(self, x: Tensor, before: list[Tensor] | None = None) -> Tensor:
        """Where a list is given, what comes to the last layer is added to it."""
        *layers, last = self
        for layer in layers:
            x = layer(x)
        if before is not None:
            before.append(x)
        return last(x)

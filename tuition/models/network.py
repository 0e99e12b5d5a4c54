"""What every model here speaks, timm's interface, and what our own architectures have in common."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


class Network(nn.Module):
    """A classifier that can be split at its last feature map and at its embedding. timm's own models speak
    it without being one, so it is asserted of them."""

    arch: str  # the name under which it was built
    taps: tuple[str, ...]  # modules whose outputs are its maps

    read_taps: Callable[
        [nn.Module, Tensor], tuple[Tensor, list[Tensor]]
    ]  # where it has taps (`tuition/models/maps.py`)

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

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Its stage maps, shallow → deep; the last is the last feature map."""
        raise NotImplementedError

    def last_stage_module(self) -> nn.Module:
        """From the last stage map but one to the last; the network's own layers, so copy it before training it apart."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        return self.forward_stages(x)[-1]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        embedding = F.adaptive_avg_pool2d(features, 1).flatten(1)
        return embedding if pre_logits else self.get_classifier()(embedding)

    def get_classifier(self) -> nn.Linear:
        return getattr(self, self.HEAD)

"""A student that ends as its teacher does: Chen et al. 2022, "Knowledge Distillation with the Reused Teacher Classifier"
(SimKD, arXiv 2203.14001).

The student's last map goes through a projector to the width of the teacher's embedding, is averaged over its places and
classified by the teacher's own last layer, which stays as it is. The projector is the paper's bottleneck: 1×1, 3×3 and
1×1 convolutions, each with batch norm and ReLU, half as wide inside. Its ReLU cannot reach the negative parts of an
embedding, which vision transformers have.
"""

import torch
from torch import Tensor, nn

from tuition.models.maps import as_map, maps_of
from tuition.models.network import Maps, Network, Staged

FACTOR = 2  # the projector is so many times narrower inside


class Projected(Staged):
    """`inner` with a projector of its last map (`wide_in` channels) and a frozen classifier of `width` inputs.

    The classifier is zero until `set_classifier`. What `inner` classifies with itself takes no part; its weights stay
    in the state dict, frozen.
    """

    def __init__(self, inner: Network, wide_in: int, width: int):
        super().__init__()
        own = inner.get_classifier().requires_grad_(False)  # it would get no gradient, which an optimiser need not know
        self.inner = inner
        self.arch = getattr(inner, "arch", type(inner).__name__)
        self.projector = projector(wide_in, width)
        self.classifier = nn.Linear(width, own.out_features).requires_grad_(False)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def set_classifier(self, weight: Tensor, bias: Tensor) -> None:
        """Take over the teacher's last layer: weight (classes, width), bias (classes,)."""
        with torch.no_grad():
            self.classifier.weight.copy_(weight)
            self.classifier.bias.copy_(bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, h, w), as large as the student's last map."""
        return self._project(self.inner.forward_features(x), x)

    def forward_maps(self, x: Tensor) -> Maps:
        """The student's own maps, then the projected one. Raises UserError for a student without maps."""
        stem, stages, preact, last = maps_of(self.inner, x)
        projected = self._project(last, x)
        return Maps(stem, [*stages, projected], [*preact, projected], projected)

    def last_stage_module(self) -> nn.Module:
        """The projector: from the student's last feature map to the last map."""
        return self.projector

    def _project(self, features: Tensor, x: Tensor) -> Tensor:
        return self.projector(last_map(self.inner, features, x))


def wrap(inner: Network, *, width: int, channels: int, size: tuple[int, int]) -> Projected:
    """`inner`, which sees images of `channels` and `size`, with a fresh projector to `width` channels; in train mode."""
    inner.eval()
    image = torch.zeros(1, channels, *size, device=next(inner.parameters()).device)
    with torch.no_grad():
        wide_in = last_map(inner, inner.forward_features(image), image).shape[1]
    return Projected(inner, wide_in, width).train()


def last_map(model: nn.Module, features: Tensor, images: Tensor) -> Tensor:
    """What `forward_features` gave, as a map (B, c, h, w); tokens are set in their grid. Raises UserError if impossible."""
    return as_map(model, "the last map", features, (images.shape[-2], images.shape[-1]))


def projector(wide_in: int, width: int) -> nn.Sequential:
    """1×1, 3×3, 1×1 convolutions from `wide_in` to `width` channels, each with batch norm and ReLU."""
    inside = max(1, width // FACTOR)
    return nn.Sequential(*_layer(wide_in, inside, 1), *_layer(inside, inside, 3), *_layer(inside, width, 1))


def _layer(wide_in: int, wide: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(wide_in, wide, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(wide), nn.ReLU()]

"""Architectures: our own for small images, and any of timm's or torchvision's.

Importing this package costs no torch: `params.yaml` is checked against `ARCHS` by stages that never see a model.
Every model that `build` returns speaks timm's interface:

    forward_features(x)                   (B, C, H, W) -> the last feature map
    forward_head(f, pre_logits=True)      the map -> the embedding (B, d); with pre_logits=False the logits
    get_classifier()                      the final nn.Linear: embedding -> logits (B, classes)
    forward(x)                            (B, C, H, W) -> logits (B, classes)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import UserError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

RESNETS = (
    *("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
    *("resnet8x4", "resnet32x4"),
)
WRNS = ("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2")
VGGS = ("vgg8", "vgg13")
ARCHS = (*RESNETS, *WRNS, *VGGS)
LIBRARIES = ("timm", "torchvision")
MIN_SIDE = 8  # pixels; the own architectures halve the side up to three times


def check_arch(where: str, name: str) -> None:
    """Check an architecture's name without importing torch; `where` says which key it came from.

    Raises UserError. That a model of timm or torchvision exists is checked by `build`: to ask them costs seconds.
    """
    library, colon, model = name.partition(":")
    if name in ARCHS or (colon and library in LIBRARIES and model):
        return
    raise unknown(where, name, ARCHS, "Or timm:<model>, torchvision:<model>.")


def build(arch: str, *, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """A model with fresh weights for images of `channels` channels and `size` (height, width) pixels.

    Its attribute `arch` keeps the name. Raises UserError for an unknown name, for images that are too small for the
    architecture, and for a model of timm or torchvision that does not end in a linear classifier.
    """
    check_arch("architecture", arch)
    if arch not in ARCHS:
        from stages.models import external

        return external.build(arch, channels=channels, classes=classes, size=size)
    if min(size) < MIN_SIDE:
        raise UserError(f"{arch}: images are {size[0]}x{size[1]}, at least {MIN_SIDE} pixels a side are needed")
    model: nn.Module
    if arch in RESNETS:
        from stages.models import resnet

        model = resnet.build(arch, channels, classes)
    elif arch in WRNS:
        from stages.models import wrn

        model = wrn.build(arch, channels, classes)
    else:
        from stages.models import vgg

        model = vgg.build(arch, channels, classes)
    model.arch = arch  # type: ignore[assignment]
    return model


def signals(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Everything a model says about normalised float images (B, C, H, W): logits (B, classes), embedding (B, d)."""
    net: Any = model
    embedding = net.forward_head(net.forward_features(images), pre_logits=True)
    return {"logits": net.get_classifier()(embedding), "embedding": embedding}


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Fill `model` with the weights in a file; see `stages.models.weights.load_weights`."""
    from stages.models import weights

    weights.load_weights(model, Path(path))


def load_student(folder: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """The student kept in `folder` (`weights.safetensors`, `student.json`), in eval mode, and its description."""
    from stages.models import weights

    return weights.load_student(Path(folder))

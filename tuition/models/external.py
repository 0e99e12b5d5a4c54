"""Models of timm and torchvision behind the same interface.

Each library is imported only when one of its models is asked for: that costs seconds. No pretrained weights are
fetched; the user gives a file.
"""

import difflib
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.models import maps
from tuition.models.network import Network

PRECISION = 1e-3  # of logits from embedding and classifier against those of the forward pass, in float32


class Torchvision(Network):
    """A torchvision classifier, split at its last nn.Linear.

    torchvision has no common name for the last map, so `forward_features` gives what enters that layer as a map of one
    place, (B, d, 1, 1).
    """

    SPARE = ("aux1.", "aux2.", "AuxLogits.")  # auxiliary classifiers in torchvision's own files; not built here

    def __init__(self, net: nn.Module, classifier_name: str, output_fmt: str):
        super().__init__()
        self.classifier_name = classifier_name
        self.output_fmt = output_fmt  # of the maps inside; the name is timm's
        self.classifier = net.get_submodule(classifier_name)
        net.set_submodule(classifier_name, nn.Identity())
        self.net = net

    def forward_features(self, x: Tensor) -> Tensor:
        return self.net(x)[:, :, None, None]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        embedding = features.flatten(1)
        return embedding if pre_logits else self.classifier(embedding)

    def get_classifier(self) -> nn.Linear:
        return cast(nn.Linear, self.classifier)

    def tap_root(self) -> nn.Module:
        """The module among whose parts taps are named: torchvision's own model."""
        return self.net

    def own_key(self, key: str) -> str | None:
        """The name here of a weight in a file that torchvision's own model wrote; None where it has no place."""
        if key.startswith(self.SPARE):
            return None
        if key.startswith(f"{self.classifier_name}."):
            return "classifier" + key[len(self.classifier_name) :]
        return f"net.{key}"


def build(arch: str, *, channels: int, classes: int, size: tuple[int, int], taps: Sequence[str] = ()) -> Network:
    """The model `timm:<model>` or `torchvision:<model>` with fresh weights, tried once on an empty image.

    `taps`: see `tuition.models.build`. Raises UserError where the library has no such model, where it cannot work on
    images of that size, where its logits are not one linear layer on a pooled embedding, and where a tap is no map.
    """
    library, _, name = arch.partition(":")
    maker = {"timm": _timm, "torchvision": _torchvision}[library]
    model = maker(arch, name, channels, classes, size)
    model.arch = arch
    _try(model, arch, channels, classes, size)
    if taps:
        maps.set_taps(model, taps, channels, size)
    else:
        _default_taps(model, channels, size)
    return model


def _default_taps(model: Network, channels: int, size: tuple[int, int]) -> None:
    """The stages that timm lists in `feature_info`; none where it lists none, or some that are no maps."""
    listed = getattr(model, "feature_info", None)
    names = [one.get("module") for one in listed] if isinstance(listed, list) else []
    try:
        maps.set_taps(model, names if all(names) else (), channels, size)
    except UserError:  # nobody asked for these, so a model trained without maps must not fail for them
        maps.set_taps(model, (), channels, size)


def _timm(arch: str, name: str, channels: int, classes: int, size: tuple[int, int]) -> Network:
    import timm

    # create_model also takes addresses of hubs; only names are meant here, so that nothing is fetched
    if ":" in name or not timm.is_model(name):
        raise _no_such_model(arch, name, timm.list_models())
    settings: dict[str, Any] = {"pretrained": False, "num_classes": classes, "in_chans": channels}
    try:
        try:
            return cast(Network, timm.create_model(name, **settings, img_size=size))
        except TypeError as error:  # most convolutional networks have no fixed size
            if "img_size" not in str(error):
                raise
            return cast(Network, timm.create_model(name, **settings))
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unfit(arch, channels, size, error) from error


def _torchvision(arch: str, name: str, channels: int, classes: int, size: tuple[int, int]) -> Network:
    import torchvision

    valid = torchvision.models.list_models(module=torchvision.models)
    if name not in valid:
        raise _no_such_model(arch, name, valid)
    settings: dict[str, Any] = {"weights": None, "num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        settings |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        settings |= {"image_size": size[0]}
    if name.startswith("maxvit"):
        settings |= {"input_size": size}
    try:
        net = torchvision.models.get_model(name, **settings)
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unfit(arch, channels, size, error) from error
    linear = [key for key, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear or net.get_submodule(linear[-1]).out_features != classes:
        raise UserError(f"{arch}: does not end in a linear classifier, so it offers no embedding; choose another model")
    if channels != 3:
        _adapt_first_convolution(net, channels)
    return Torchvision(net, linear[-1], "NHWC" if name.startswith("swin") else "NCHW")


def _adapt_first_convolution(net: nn.Module, channels: int) -> None:
    """Replace the first convolution by one for `channels` input channels, freshly initialised."""
    name, old = next((key, module) for key, module in net.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    net.set_submodule(name, new)


@torch.no_grad()
def _try(model: Network, arch: str, channels: int, classes: int, size: tuple[int, int]) -> None:
    """Run one empty image: does the size work, and do embedding and classifier together give the logits?"""
    model.eval()
    image = torch.zeros(1, channels, *size)
    try:
        embedding = model.forward_head(model.forward_features(image), pre_logits=True)
        logits = model(image)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise _unfit(arch, channels, size, error) from error
    head = model.get_classifier()
    if (
        not isinstance(head, nn.Linear)
        or not isinstance(logits, Tensor)
        or logits.shape != (1, classes)
        or embedding.shape != (1, head.in_features)
        or not torch.allclose(head(embedding), logits, atol=PRECISION, rtol=PRECISION)
    ):
        raise UserError(f"{arch}: its logits are not one linear layer on a pooled embedding; choose another model")
    model.train()


def _no_such_model(arch: str, name: str, valid: list[str]) -> UserError:
    near = difflib.get_close_matches(name, valid, n=5, cutoff=0.4)
    guess = f"Near matches: {', '.join(near)}." if near else f"It has {len(valid)} models, none with a similar name."
    return UserError(f"{arch}: {arch.partition(':')[0]} has no model {name!r}. {guess}")


def _unfit(arch: str, channels: int, size: tuple[int, int], error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{arch}: does not work on images of {channels}x{size[0]}x{size[1]} pixels ({reason}); "
        "choose a larger `resize` or another model"
    )

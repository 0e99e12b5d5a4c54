"""Architectures: our own for small images and for texts, and any of timm's or torchvision's.

Importing this package costs no torch: `params.yaml` is checked against `ARCHS` by stages that never see a model.
Every model that `build` returns speaks timm's interface:

    forward_features(x)                   (B, C, H, W) -> the last feature map
    forward_head(f, pre_logits=True)      the map -> the embedding (B, d); with pre_logits=False the logits
    get_classifier()                      the final nn.Linear: embedding -> logits (B, classes)
    forward(x)                            (B, C, H, W) -> logits (B, classes)

Our own add:

    forward_maps(x)                       its stage maps, shallow → deep, and what else is read inside it (`Maps`)
    last_stage_module()                   the nn.Module from the last stage map but one to the last feature map
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tuition.errors import UserError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tuition.models.description import ModelDescription, NetworkDescription
    from tuition.models.network import Network

RESNETS = (
    *("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
    *("resnet8x2", "resnet14x2", "resnet20x2"),
    *("resnet8x4", "resnet32x4"),
)
WRNS = ("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2")
VGGS = ("vgg8", "vgg13")
BOTTLENECKS = ("resnet50",)
MOBILENETS = ("mobilenetv2_half",)
SHUFFLENETS = ("shufflenetv1", "shufflenetv2")
FAMILIES = {  # the module in this package that builds them
    "resnet": RESNETS,
    "wrn": WRNS,
    "vgg": VGGS,
    "bottleneck": BOTTLENECKS,
    "mobilenet": MOBILENETS,
    "shufflenet": SHUFFLENETS,
}
ARCHS = tuple(name for names in FAMILIES.values() for name in names)
TRANSFORMERS = "transformers"  # before a colon and the folder of an encoder
TEXT_TRANSFORMERS = ("text-transformer", "text-transformer-3", "text-transformer-4")
# Architectures for texts, and the kind of tokens that each reads where it begins with no encoder's.
TOKENS = {"text-cnn": "bpe", "ngram": "hashed", "static": "pieces", **dict.fromkeys(TEXT_TRANSFORMERS, "bpe")}
CAUSAL = ("causal-2", "causal-4", "causal-6")  # architectures of language models
BEGUN = ("static", *TEXT_TRANSFORMERS)  # whose embedding of tokens can begin with an encoder's
LIBRARIES = ("timm", "torchvision")
# What is called map1, … changed once in these: they were activated or the last feature map, and are now the benchmark's.
MAPS_VERSION = dict.fromkeys((*WRNS, *MOBILENETS, "shufflenetv2"), 2)
MIN_SIDE = 8  # pixels; the own architectures halve the side up to four times


def check_arch(where: str, name: str, inputs: str = "images") -> None:
    """Check an architecture's name without importing torch; `where` says which key it came from, `inputs` what the samples are.

    Raises UserError. That a model of timm or torchvision exists is checked by `build`: to ask them costs seconds.
    """
    library, colon, model = name.partition(":")
    if inputs == "texts":
        if name in TOKENS or (library == TRANSFORMERS and model):
            return
        raise unknown(where, name, TOKENS, f"Or {TRANSFORMERS}:<folder>. (architectures for texts)")
    if name in ARCHS or (colon and library in LIBRARIES and model):
        return
    raise unknown(where, name, ARCHS, "Or timm:<model>, torchvision:<model>.")


def check_causal(where: str, name: str) -> None:
    """The same of an architecture of language models."""
    if name not in CAUSAL:
        raise unknown(where, name, CAUSAL, "(architectures of language models)")


def tokens_of(arch: str, encoder: str | None = None) -> str:
    """The kind of tokens that an architecture reads, "" for images; `encoder`: the folder of which its embedding begins."""
    if arch.startswith(f"{TRANSFORMERS}:"):
        return "encoder"
    return "pieces" if encoder else TOKENS.get(arch, "")


def build(arch: str, *, channels: int, classes: int, size: tuple[int, int], taps: Sequence[str] = ()) -> Network:
    """A model with fresh weights for images of `channels` channels and `size` (height, width) pixels.

    Its attribute `arch` keeps the name, `taps` the modules whose outputs are its maps: the names given, shallow → deep;
    without any the modules that timm lists as a model's stages, or () for our own (`forward_maps` gives theirs) and
    for torchvision's (these have no maps then).

    Raises UserError for an unknown name, for images that are too small for the architecture, for a model of timm or
    torchvision that does not end in a linear classifier, and for a tap that does not exist or gives no map.
    """
    check_arch("architecture", arch)
    if arch not in ARCHS:
        from tuition.models import external

        return external.build(arch, channels=channels, classes=classes, size=size, taps=taps)
    if min(size) < MIN_SIDE:
        raise UserError(f"{arch}: images are {size[0]}x{size[1]}, at least {MIN_SIDE} pixels a side are needed")
    family = next(module for module, names in FAMILIES.items() if arch in names)
    model = cast("Network", import_module(f"tuition.models.{family}").build(arch, channels, classes))
    model.arch = arch
    from tuition.models import maps

    maps.set_taps(model, taps, channels, size)
    return model


def build_for_images(model: NetworkDescription) -> Network:
    """A network for images, as `build` makes it."""
    size = (model["height"], model["width"])
    return build(model["arch"], channels=model["channels"], classes=model["classes"], size=size, taps=model["taps"])


def build_for_texts(model: NetworkDescription) -> Network:
    """A network for texts, whose last layer gives scores of classes or, of a student of retrieval, its embedding.

    Raises UserError for an unknown name, and for an encoder that transformers cannot build.
    """
    check_arch("architecture", model["arch"], "texts")
    module = "encoders" if model["arch"].startswith(f"{TRANSFORMERS}:") else "texts"
    outputs = model.get("embedding", model["classes"])
    network = cast("Network", import_module(f"tuition.models.{module}").build({**model, "classes": outputs}))
    network.arch = model["arch"]
    return network


BUILDERS: dict[str, Callable[[NetworkDescription], Network]] = {  # by the kind of inputs
    "images": build_for_images,
    "texts": build_for_texts,
}


def make(model: NetworkDescription) -> Network:
    """The network of a description, with fresh weights. Raises UserError where no architecture here takes its kind of inputs."""
    kind = model.get("inputs", "images")
    if kind not in BUILDERS:
        raise unknown("inputs", kind, BUILDERS, "(kinds of inputs for which there are architectures)")
    return BUILDERS[kind](model)


def signals(model: Network, inputs: Tensor, maps: bool = False, inside: Sequence[str] = ()) -> dict[str, Tensor]:
    """Everything a model says about inputs as it takes them (images: (B, C, H, W) float): logits (B, classes), embedding (B, d).

    With `maps` also map1 to mapL (B, c, h, w), shallow → deep: its taps, or its stages where it has none; `inside` asks for
    more: `preact`, preact1 to preactL before their activation, `stem`, where it is known, and `features`, the last feature
    map. Raises UserError for a model with neither taps nor stages.
    """
    more: dict[str, Tensor] = {}
    if maps or inside:
        from tuition.models.maps import maps_of

        stem, stages, preact, features = maps_of(model, inputs)
        for family, found in (("map", stages if maps else []), ("preact", preact if "preact" in inside else [])):
            more |= {f"{family}{place}": one for place, one in enumerate(found, start=1)}
        if stem is not None and "stem" in inside:
            more["stem"] = stem
    else:
        features = model.forward_features(inputs)
    if "features" in inside:
        from tuition.models.maps import as_map

        more["features"] = as_map(model, "the last map", features, (inputs.shape[-2], inputs.shape[-1]))
    embedding = model.forward_head(features, pre_logits=True)
    return {"logits": model.get_classifier()(embedding), "embedding": embedding} | more


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Fill `model` with the weights in a file; see `tuition.models.weights.load_weights`."""
    from tuition.models import weights

    weights.load_weights(model, Path(path))


def load_student(folder: Path | str) -> tuple[Network, ModelDescription]:
    """The student kept in `folder` (`weights.safetensors`, `student.json`), in eval mode, and its description."""
    from tuition.models import weights

    return weights.load_student(Path(folder))

"""Feature maps of a model: its own stages, or the outputs of modules that are named, its taps.

Taps are read with forward hooks that exist only while maps are asked for: the plain forward pass, which is compiled,
traced and served, knows nothing of them.
"""

import difflib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.models.network import Maps, Network

Hook = Callable[[nn.Module, tuple[object, ...], object], None]

SHOWN = 12  # names of modules in an error
PREFIXES = (0, 1, 2)  # tokens that stand for no patch, tried for models that do not say how many they have


def set_taps(model: Network, names: Sequence[str], channels: int, size: tuple[int, int]) -> None:
    """Make `names` the model's taps, after trying them on one empty image.

    Raises UserError for a name that is none of its modules or stands there twice, and for a module that gives no map.
    """
    root = _root(model)
    modules = [name for name, _ in root.named_modules() if name]
    for name in names:
        if name not in modules:
            raise _no_such_module(model, name, modules)
    if len(set(names)) < len(names):
        raise UserError(f"taps: {', '.join(names)}: a module stands there twice")
    model.taps = tuple(names)
    if names:
        # Hooks that come and go would be compiled anew on every call. Here and not as a decorator, which imports torch._dynamo:
        # a second in every evaluation, for what few models have.
        model.read_taps = torch.compiler.disable(_tapped)
        training = model.training
        try:
            model.eval()
            with torch.no_grad():
                maps_of(model, torch.zeros(1, channels, *size))
        finally:
            model.train(training)


def maps_of(model: Network, images: Tensor) -> Maps:
    """The maps inside the model. Its taps, where it has some, are its stages as they are and before activation; it has no stem then.

    Raises UserError for a model without.
    """
    if getattr(model, "taps", ()):
        return model.read_taps(model, images)
    forward_maps = getattr(model, "forward_maps", None)
    if forward_maps is None:
        raise UserError(
            f"{_name(model)}: no maps are known of this model; name the modules that give them in `student.taps` or "
            "`teacher.taps`"
        )
    maps: Maps = forward_maps(images)
    return maps


def _tapped(model: Network, images: Tensor) -> Maps:
    root = _root(model)
    seen: dict[str, object] = {}

    def keep(name: str) -> Hook:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            # A copy, since the layer after it may work in place. A module called twice has its last output kept.
            seen[name] = output.clone() if isinstance(output, Tensor) else output

        return hook

    handles = [root.get_submodule(name).register_forward_hook(keep(name)) for name in model.taps]
    try:
        features = model.forward_features(images)
    finally:
        for handle in handles:
            handle.remove()
    size = (images.shape[-2], images.shape[-1])
    stages = [as_map(model, f"tap {name!r}", seen.get(name), size) for name in model.taps]
    return Maps(None, stages, stages, features)


def energy(stage: Tensor) -> Tensor:
    """Where a map (B, c, h, w) is active: the mean over channels of its square (B, h, w)."""
    return stage.square().mean(1)


def flow(shallow: Tensor, deep: Tensor) -> Tensor:
    """(B, c, c') inner products of the channels of maps (B, c, h, w) and (B, c', h', w') over places, divided by their number; the
    larger map is average-pooled to the smaller (FSP matrix, Yim et al. 2017, RepDistiller [code])."""
    size = (min(shallow.shape[2], deep.shape[2]), min(shallow.shape[3], deep.shape[3]))
    a, b = (F.adaptive_avg_pool2d(one, size).flatten(2) for one in (shallow, deep))
    with torch.autocast(a.device.type, enabled=False):
        return a @ b.mT / a.shape[2]


def as_map(model: nn.Module, what: str, output: object, size: tuple[int, int]) -> Tensor:
    """An output of the model, called `what`, for images of `size` (height, width), as a map (B, c, h, w).

    Tokens (B, n, c) of a vision transformer become one where, without the tokens that stand for no patch, they form a
    grid of the images' proportions (a square for square images). Raises UserError for anything else.
    """
    if isinstance(output, Tensor) and output.ndim == 4:
        return output.permute(0, 3, 1, 2) if _channels_last(model, output) else output
    if isinstance(output, Tensor) and output.ndim == 3:
        known = getattr(model, "num_prefix_tokens", None)
        for prefix in PREFIXES if known is None else (known,):
            if grid := _grid(output.shape[1] - prefix, size):
                return output[:, prefix:].transpose(1, 2).unflatten(2, grid)
    raise UserError(
        f"{_name(model)}: {what} gives {_said(output)} for an image of {size[0]}x{size[1]}; needed is a map (channels, "
        "height, width), or tokens that form a grid of the image's proportions"
    )


def _grid(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of so many tokens in the proportions of `size`, where there are such."""
    if tokens < 1:
        return None
    height = round((tokens * size[0] / size[1]) ** 0.5)
    width = tokens // max(1, height)
    return (height, width) if height * width == tokens and height * size[1] == width * size[0] else None


def _channels_last(model: nn.Module, output: Tensor) -> bool:
    """Whether this is (B, h, w, c), as Swin transformers have it between their blocks but not in their convolutions."""
    if getattr(model, "output_fmt", None) != "NHWC":
        return False
    return not (output.shape[2] == output.shape[3] != output.shape[1])


def _root(model: nn.Module) -> nn.Module:
    """The module among whose parts the taps are named."""
    return model.tap_root() if hasattr(model, "tap_root") else model  # type: ignore[operator]


def _name(model: nn.Module) -> str:
    return str(getattr(model, "arch", type(model).__name__))


def _said(output: object) -> str:
    if output is None:
        return "nothing (it takes no part)"
    if not isinstance(output, Tensor):
        return f"a {type(output).__name__}"
    return f"values of shape {'x'.join(str(n) for n in output.shape[1:]) or '()'}"


def _no_such_module(model: nn.Module, name: str, modules: list[str]) -> UserError:
    near = difflib.get_close_matches(name, modules, n=5, cutoff=0.4)
    guess = f" Near matches: {', '.join(near)}." if near else ""
    shallow = [one for one in modules if one.count(".") < 2 and one not in near]
    more = ", …" if len(modules) > SHOWN else ""
    return UserError(
        f"taps: {_name(model)} has no module {name!r}.{guess} Among its modules: {', '.join(shallow[:SHOWN])}{more}"
    )

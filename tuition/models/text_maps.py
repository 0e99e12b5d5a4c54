"""Maps of a network of texts: the outputs of modules that are named, its taps, each as the mean over a text's tokens.

A text has no places that student and teacher share: they cut it into other tokens. So a map of one is a map of one place, (B, d, 1, 1)
[ours; Patient KD, arXiv 1908.09355, takes the first token's state instead]. Hooks exist only while maps are asked for.
"""

import difflib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.models.text_transformer import mean_of_known

SHOWN = 12  # names of modules in an error


def check_taps(net: nn.Module, names: Sequence[str], where: str) -> None:
    """Raises UserError for a name that is no module of `net`, or stands there twice; `where` names the key."""
    modules = [name for name, _ in net.named_modules() if name]
    for name in names:
        if name not in modules:
            near = difflib.get_close_matches(name, modules, n=5, cutoff=0.4)
            guess = f" Near matches: {', '.join(near)}." if near else ""
            raise UserError(
                f"{where}: found {name!r}, which is no module of the network.{guess} Among them: {', '.join(modules[:SHOWN])}, …"
            )
    if len(set(names)) < len(names):
        raise UserError(f"{where}: {', '.join(names)}: a module stands there twice")


def read_states(
    net: nn.Module, names: Sequence[str], known: Tensor, run: Callable[[], Tensor], where: str
) -> tuple[Tensor, list[Tensor]]:
    """What `run`, a pass through `net`, gives, and the map (B, d, 1, 1) of each of its modules `names`.

    `known` (B, L): which tokens are a text's. Raises UserError for a module that does not give a vector for each of them.
    """
    seen: dict[str, object] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            seen[name] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [net.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        given = run()
    finally:
        for handle in handles:
            handle.remove()
    return given, [_map(seen.get(name), known, f"{where}: {name!r}") for name in names]


def _map(state: object, known: Tensor, where: str) -> Tensor:
    if not isinstance(state, Tensor) or state.shape[:2] != known.shape or state.ndim != 3:
        found = f"values of shape {tuple(state.shape)}" if isinstance(state, Tensor) else type(state).__name__
        raise UserError(f"{where} gives {found} for {known.shape[1]} tokens; needed is a vector for each token")
    with torch.autocast(state.device.type, enabled=False):
        return mean_of_known(state.float(), known)[:, :, None, None]

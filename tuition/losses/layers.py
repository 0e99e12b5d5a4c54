"""Stages of the student beside those of the teacher: which are compared, at what size, and through which connector.

Deep goes with deep: of networks with different numbers of stages, the last ones of the longer are compared with all of the other.
"""

from collections.abc import Collection

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.signals import arrays_of


def paired(
    student: Collection[str], teacher: Collection[str], family: str = "map", own: str = "map"
) -> list[tuple[str, str]]:
    """Names of the student's arrays of `own` and of the teacher's of `family` that belong together, shallow → deep.

    Raises UserError where one of them has none.
    """
    ours, theirs = arrays_of(own, student), arrays_of(family, teacher)
    if not ours or not theirs:
        whose, found = ("the student", student) if not ours else ("the teacher's outputs", teacher)
        wanted = f"{own}1, {own}2, …" if not ours else f"{family}1, {family}2, …"
        raise UserError(f"{whose}: found {', '.join(sorted(found)) or 'nothing'}; this method needs {wanted}")
    count = min(len(ours), len(theirs))
    return list(zip(ours[-count:], theirs[-count:], strict=True))


def chosen(method: str, layer: int, pairs: list[tuple[str, str]]) -> tuple[str, str]:
    """The pair that the setting `layer` counts to, from 1. Raises UserError where there is no such pair."""
    if not 1 <= layer <= len(pairs):
        raise UserError(f"params.yaml: methods.{method}.layer: found {layer}, expected a number from 1 to {len(pairs)}")
    return pairs[layer - 1]


def initial_steps(method: str, share: float, steps: int) -> int:
    """The steps of a first stage that takes `share` of all. Raises UserError for a share above one."""
    if not 0 <= share <= 1:
        raise UserError(f"params.yaml: methods.{method}.share: found {share}, expected a number from 0 to 1")
    return round(share * steps)


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (…, h, w) at the smaller of their sizes, the larger one average-pooled."""
    height, width = (min(pair) for pair in zip(one.shape[-2:], other.shape[-2:], strict=True))
    return F.adaptive_avg_pool2d(one, (height, width)), F.adaptive_avg_pool2d(other, (height, width))


def connector(wide_in: int, wide_out: int) -> nn.Sequential:
    """A 1×1 convolution and batch norm: a map (B, wide_in, h, w) with other channels."""
    return nn.Sequential(nn.Conv2d(wide_in, wide_out, 1, bias=False), nn.BatchNorm2d(wide_out))


def unit_energies(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (B, h, w) of any two sizes, pooled to the smaller and then of length one: two of (B, h·w)."""
    one, other = same_size(one, other)
    return F.normalize(one.flatten(1), dim=1), F.normalize(other.flatten(1), dim=1)

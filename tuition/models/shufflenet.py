"""ShuffleNets for small images, in the form of the distillation benchmark of Tian et al. 2020 (CRD).

`shufflenetv1`: Zhang et al. 2018, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
3 groups, 240, 480 and 960 channels in 4, 8 and 4 units; as in the benchmark a ReLU also follows the 3×3 convolution,
which the paper leaves out. `shufflenetv2`: Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN
Architecture Design", factor 1: 116, 232 and 464 channels in 4, 8 and 4 units, then 1024.

Both begin with a 1×1 convolution to 24 channels, of stride 1 and without pooling, and every stage halves the map: 32
pixels end as 4×4. As there, weights begin as PyTorch makes them. Parameter names are not that
benchmark's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import Maps, Staged, Tapped

STEM = 24
UNITS = (4, 8, 4)  # units a stage; the first halves the map
GROUPS = 3
# name -> widths of the stages, then that of a last 1×1 convolution where there is one
SETTINGS: dict[str, tuple[tuple[int, int, int], int | None]] = {
    "shufflenetv1": ((240, 480, 960), None),
    "shufflenetv2": ((116, 232, 464), 1024),
}


Seen = list[tuple[Tensor, Tensor]]  # maps, and what they were before their ReLU


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of `groups` equal parts out in turn: first of each part, second of each, …"""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class UnitV1(nn.Module):
    """Grouped 1×1 convolution, shuffle, 3×3 on each channel, grouped 1×1; added to x, or beside the pooled x."""

    def __init__(self, wide_in: int, wide: int, stride: int):
        super().__init__()
        out = wide - wide_in if stride == 2 else wide  # the pooled x gives the rest
        inside = out // 4
        self.stride = stride
        self.groups = 1 if wide_in == STEM else GROUPS  # too few channels enter the first unit to be grouped
        self.conv1 = nn.Conv2d(wide_in, inside, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, padding=1, groups=inside, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, out, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor, seen: Seen | None = None) -> Tensor:
        out = shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = torch.cat([out, F.avg_pool2d(x, 3, 2, padding=1)], 1) if self.stride == 2 else out + x
        if seen is not None:
            seen.append((F.relu(out), out))
        return F.relu(out)


class UnitV2(nn.Module):
    """One half of the channels passes, the other goes through 1×1, 3×3 on each channel, 1×1; then both are shuffled.

    With stride 2 both halves see all of x, and the first is a 3×3 on each channel and a 1×1.
    """

    def __init__(self, wide_in: int, wide: int, stride: int):
        super().__init__()
        half = wide // 2
        self.stride = stride
        self.left: nn.Module = nn.Identity()
        if stride == 2:
            self.left = nn.Sequential(*_each_channel(wide_in, 2), *_pointwise(wide_in, half))
        entering = wide_in if stride == 2 else half
        self.right = Tapped(*_pointwise(entering, half), *_each_channel(half, stride), *_pointwise(half, half))

    def forward(self, x: Tensor, seen: Seen | None = None) -> Tensor:
        left, right = (x, x) if self.stride == 2 else x.chunk(2, 1)
        before: list[Tensor] = []
        left, right = self.left(left), self.right(right, before)
        out = shuffle(torch.cat([left, right], 1), 2)
        if seen is not None:
            seen.append((out, shuffle(torch.cat([left, *before], 1), 2)))
        return out


class Stage(nn.Sequential):
    """Units, and behind those of V2's last stage a 1×1 convolution."""

    def forward(self, x: Tensor, seen: Seen | None = None) -> Tensor:
        """Where a list is given, the last unit's map is added to it."""
        last = max(place for place, module in enumerate(self) if isinstance(module, UnitV1 | UnitV2))
        for place, module in enumerate(self):
            x = module(x, seen) if place == last else module(x)
        return x


class ShuffleNet(Staged):
    """The last map of (B, C, H, W) is (B, d, H/8, W/8), rounded up."""

    def __init__(
        self, unit: type[UnitV1 | UnitV2], widths: tuple[int, int, int], last: int | None, channels: int, classes: int
    ):
        super().__init__()
        self.stem = nn.Sequential(*_pointwise(channels, STEM))
        self.stage1 = _stage(unit, UNITS[0], STEM, widths[0])
        self.stage2 = _stage(unit, UNITS[1], widths[0], widths[1])
        self.stage3 = _stage(unit, UNITS[2], widths[1], widths[2])
        if last is not None:
            self.stage3.extend(_pointwise(widths[2], last))
        self.classifier = nn.Linear(last or widths[2], classes)

    def forward_maps(self, x: Tensor) -> Maps:
        """The maps of the three stages, each after its last ReLU; V2's last feature map is the 1×1 convolution's behind them.

        In V2 a ReLU ends one half of the channels; the other half came through, and is the same before it.
        """
        seen: Seen = []
        stem = self.stem(x)
        last = self.stage3(self.stage2(self.stage1(stem, seen), seen), seen)
        return Maps(stem, [one for one, _ in seen], [before for _, before in seen], last)

    def last_stage_module(self) -> nn.Module:
        """From the last map but one to the last feature map; the network's own layers, so copy it before training it apart."""
        return self.stage3


def _pointwise(wide_in: int, wide: int) -> list[nn.Module]:
    return [nn.Conv2d(wide_in, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]


def _each_channel(wide: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide)]


def _stage(unit: type[UnitV1 | UnitV2], units: int, wide_in: int, wide: int) -> Stage:
    return Stage(unit(wide_in, wide, 2), *(unit(wide, wide, 1) for _ in range(units - 1)))


def build(arch: str, channels: int, classes: int) -> ShuffleNet:
    """The network called `arch` in `SETTINGS`."""
    widths, last = SETTINGS[arch]
    return ShuffleNet(UnitV1 if arch == "shufflenetv1" else UnitV2, widths, last, channels, classes)

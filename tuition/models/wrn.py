"""Wide residual networks: Zagoruyko and Komodakis 2016, "Wide Residual Networks".

`wrn_<depth>_<factor>`: depth 6n + 4, three groups of n blocks, 16, 32 and 64 channels times the factor. Blocks apply
batch norm and ReLU before each convolution; the block that changes the shape adds its input after the first of these
activations through a 1×1 convolution. Parameter names are those of the CRD benchmark's published teachers (Tian et al.
2020), so that their files load.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import Maps, Staged

# name -> blocks a group, widening factor
SETTINGS: dict[str, tuple[int, int]] = {
    "wrn_16_1": (2, 1),
    "wrn_16_2": (2, 2),
    "wrn_40_1": (6, 1),
    "wrn_40_2": (6, 2),
}


class Block(nn.Module):
    """x + two 3×3 convolutions of the activated x."""

    def __init__(self, wide_in: int, wide: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(wide_in)
        self.conv1 = nn.Conv2d(wide_in, wide, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.convShortcut = nn.Conv2d(wide_in, wide, 1, stride, bias=False) if wide_in != wide else None

    def forward(self, x: Tensor, preact: list[Tensor] | None = None) -> Tensor:
        normal = self.bn1(x)
        if preact is not None:
            preact.append(normal)
        active = F.relu(normal)
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class Group(nn.Module):
    def __init__(self, blocks: int, wide_in: int, wide: int, stride: int):
        super().__init__()
        self.layer = nn.Sequential(Block(wide_in, wide, stride), *(Block(wide, wide, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor, preact: list[Tensor] | None = None) -> Tensor:
        """Where a list is given, x after the first batch norm is added to it."""
        first, *others = self.layer
        x = first(x, preact)
        for block in others:
            x = block(x)
        return x


class WideResNet(Staged):
    """The last map of (B, C, H, W) is (B, d, H/4, W/4)."""

    HEAD = "fc"

    def __init__(self, blocks: int, factor: int, channels: int, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = Group(blocks, 16, 16 * factor, stride=1)
        self.block2 = Group(blocks, 16 * factor, 32 * factor, stride=2)
        self.block3 = Group(blocks, 32 * factor, 64 * factor, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * factor)
        self.fc = nn.Linear(64 * factor, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward_maps(self, x: Tensor) -> Maps:
        """The maps of the three groups: raw sums, of either sign, which the next block or, in the end, `bn1` activates.

        So the last feature map, relu(bn1(last map)), is none of them.
        """
        preact: list[Tensor] = []
        stem = self.conv1(x)
        one = self.block1(stem)
        two = self.block2(one, preact)
        three = self.block3(two, preact)
        preact.append(self.bn1(three))
        return Maps(stem, [one, two, three], preact, F.relu(preact[-1]))

    def last_stage_module(self) -> nn.Module:
        """From the last map but one to the last feature map; the network's own layers, so copy it before training it apart."""
        return nn.Sequential(self.block3, self.bn1, nn.ReLU())


def build(arch: str, channels: int, classes: int) -> WideResNet:
    """The network called `arch` in `SETTINGS`."""
    blocks, factor = SETTINGS[arch]
    return WideResNet(blocks, factor, channels, classes)

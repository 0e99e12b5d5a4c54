"""Residual networks for small images: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.

Depth 6n + 2: a 3×3 stem and three groups of n two-convolution blocks; groups two and three halve the map. Where the
shape changes, the shortcut is a 1×1 convolution (the paper's option B), as in the distillation benchmark of Tian et al.
2020 (CRD). Parameter names are those of that benchmark's published teachers, so that their files load.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import Group, Maps, Staged

# name -> blocks a group, widths of stem and groups
SETTINGS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "resnet8": (1, (16, 16, 32, 64)),
    "resnet14": (2, (16, 16, 32, 64)),
    "resnet20": (3, (16, 16, 32, 64)),
    "resnet32": (5, (16, 16, 32, 64)),
    "resnet44": (7, (16, 16, 32, 64)),
    "resnet56": (9, (16, 16, 32, 64)),
    "resnet110": (18, (16, 16, 32, 64)),
    "resnet8x2": (1, (32, 32, 64, 128)),
    "resnet14x2": (2, (32, 32, 64, 128)),
    "resnet20x2": (3, (32, 32, 64, 128)),
    "resnet8x4": (1, (32, 64, 128, 256)),
    "resnet32x4": (5, (32, 64, 128, 256)),
}


class Block(nn.Module):
    """relu(x + two 3×3 convolutions of x)."""

    def __init__(self, wide_in: int, wide: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or wide_in != wide:
            self.downsample = nn.Sequential(nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: Tensor, preact: list[Tensor] | None = None) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.downsample(x)
        if preact is not None:
            preact.append(out)
        return F.relu(out)


class Residual(Staged):
    """A stem `conv1`, `bn1`, and groups `layer1`, `layer2`, … of residual blocks, each of which ends in a ReLU."""

    HEAD = "fc"
    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d

    def groups(self) -> list[nn.Module]:
        """In the order in which they follow."""
        return [module for name, module in self.named_children() if name.startswith("layer")]

    def forward_maps(self, x: Tensor) -> Maps:
        """The maps of the groups, each after its last ReLU."""
        preact: list[Tensor] = []
        stem = F.relu(self.bn1(self.conv1(x)))
        stages = [stem]
        for group in self.groups():
            stages.append(group(stages[-1], preact))
        return Maps(stem, stages[1:], preact, stages[-1])

    def last_stage_module(self) -> nn.Module:
        """From the last map but one to the last; the network's own layers, so copy it before training it apart."""
        return self.groups()[-1]


class ResNet(Residual):
    """The last map of (B, C, H, W) is (B, d, H/4, W/4)."""

    def __init__(self, blocks: int, widths: tuple[int, int, int, int], channels: int, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _group(blocks, widths[0], widths[1], stride=1)
        self.layer2 = _group(blocks, widths[1], widths[2], stride=2)
        self.layer3 = _group(blocks, widths[2], widths[3], stride=2)
        self.fc = nn.Linear(widths[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _group(blocks: int, wide_in: int, wide: int, stride: int) -> Group:
    return Group(Block(wide_in, wide, stride), *(Block(wide, wide, 1) for _ in range(blocks - 1)))


def build(arch: str, channels: int, classes: int) -> ResNet:
    """The network called `arch` in `SETTINGS`."""
    blocks, widths = SETTINGS[arch]
    return ResNet(blocks, widths, channels, classes)

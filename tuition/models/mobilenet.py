"""MobileNetV2 for small images: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2.

`mobilenetv2_half`: every width times 0.5 but that of the last convolution, which stays 1280, as the paper has it for
factors below one; expansion 6. The strides are those of the distillation benchmark of Tian et al. 2020 (CRD): 2 in the
stem and at 32, 64 and 160 channels, where the paper's also has 2 at 24; so 32 pixels end as a map of 2×2. As there the
activation is a plain ReLU, where the paper caps it at 6, and the first block too expands (by 1: one convolution more
than in the paper). Parameter names are not that benchmark's.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import Maps, Staged, Tapped

STEM, LAST = 32, 1280
GROUPS = (  # expansion, width, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
SETTINGS: dict[str, float] = {"mobilenetv2_half": 0.5}  # name -> factor of the widths


class InvertedResidual(nn.Module):
    """1×1 convolution to more channels, 3×3 on each channel, 1×1 back to few; no activation on the few. Plus x where it fits."""

    def __init__(self, wide_in: int, wide: int, expansion: int, stride: int):
        super().__init__()
        inside = wide_in * expansion
        self.conv1 = nn.Conv2d(wide_in, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, padding=1, groups=inside, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.adds = stride == 1 and wide_in == wide

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return x + out if self.adds else out


class MobileNetV2(Staged):
    """The last map of (B, C, H, W) is (B, 1280, H/16, W/16), rounded up."""

    def __init__(self, factor: float, channels: int, classes: int):
        super().__init__()
        wide = int(STEM * factor)
        self.stem = _activated(channels, wide, 3, stride=2)
        groups = []
        for expansion, width, blocks, stride in GROUPS:
            layers = []
            for place in range(blocks):
                layers.append(InvertedResidual(wide, int(width * factor), expansion, 1 if place else stride))
                wide = int(width * factor)
            groups.append(nn.Sequential(*layers))
        self.stage1 = nn.Sequential(*groups[:2])
        self.stage2 = groups[2]
        self.stage3 = nn.Sequential(*groups[3:5])
        self.stage4 = Tapped(*groups[5:], _activated(wide, LAST, 1, stride=1))
        self.classifier = nn.Linear(LAST, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward_maps(self, x: Tensor) -> Maps:
        """The maps at 1/2, 1/4, 1/8 and 1/16 of the side: bottlenecks, of either sign, which this network does not activate.

        The last has 160 channels; the last feature map has the 1280 of the 1×1 convolution behind it, after their ReLU.
        """
        bottlenecks: list[Tensor] = []
        stem = self.stem(x)
        one = self.stage1(stem)
        two = self.stage2(one)
        three = self.stage3(two)
        last = self.stage4(three, bottlenecks)
        stages = [one, two, three, *bottlenecks]
        return Maps(stem, stages, stages, last)

    def last_stage_module(self) -> nn.Module:
        """From the last map but one to the last feature map; the network's own layers, so copy it before training it apart."""
        return self.stage4


def _activated(wide_in: int, wide: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(wide_in, wide, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wide), nn.ReLU())


def build(arch: str, channels: int, classes: int) -> MobileNetV2:
    """The network called `arch` in `SETTINGS`."""
    return MobileNetV2(SETTINGS[arch], channels, classes)

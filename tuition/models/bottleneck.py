"""Deep residual networks of bottleneck blocks for small images: He et al. 2016, "Deep Residual Learning for Image
Recognition", table 1, with the stem of its section 4.2.

`resnet50`: groups of 3, 4, 6 and 3 blocks, 64 to 512 channels inside and four times that between them; the stem is one
3×3 convolution of stride 1 without pooling, so that 32 pixels end as a map of 4×4. The 3×3 convolution carries the
stride. Shortcuts are projected where the shape changes. So the distillation benchmark of Tian et al. 2020 (CRD) has its
ResNet-50; parameter names here are those of torchvision, without `maxpool`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import Group
from tuition.models.resnet import Residual

EXPANSION = 4
WIDTHS = (64, 128, 256, 512)
SETTINGS: dict[str, tuple[int, int, int, int]] = {"resnet50": (3, 4, 6, 3)}  # name -> blocks a group


class Bottleneck(nn.Module):
    """relu(x + 1×1, 3×3 and 1×1 convolutions of x)."""

    def __init__(self, wide_in: int, inside: int, stride: int):
        super().__init__()
        wide = inside * EXPANSION
        self.conv1 = nn.Conv2d(wide_in, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or wide_in != wide:
            self.downsample = nn.Sequential(nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: Tensor, preact: list[Tensor] | None = None) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out)) + self.downsample(x)
        if preact is not None:
            preact.append(out)
        return F.relu(out)


class BottleneckResNet(Residual):
    """The last map of (B, C, H, W) is (B, d, H/8, W/8)."""

    def __init__(self, blocks: tuple[int, int, int, int], channels: int, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *(EXPANSION * width for width in WIDTHS[:-1]))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _group(n, wide_in, inside, stride)
            for n, wide_in, inside, stride in zip(blocks, before, WIDTHS, (1, 2, 2, 2), strict=True)
        )
        self.fc = nn.Linear(EXPANSION * WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _group(blocks: int, wide_in: int, inside: int, stride: int) -> Group:
    later = (Bottleneck(EXPANSION * inside, inside, 1) for _ in range(blocks - 1))
    return Group(Bottleneck(wide_in, inside, stride), *later)


def build(arch: str, channels: int, classes: int) -> BottleneckResNet:
    """The network called `arch` in `SETTINGS`."""
    return BottleneckResNet(SETTINGS[arch], channels, classes)

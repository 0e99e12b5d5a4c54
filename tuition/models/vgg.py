"""VGG with batch norm for small images: after Simonyan and Zisserman 2015, "Very Deep Convolutional Networks".

Five groups of 3×3 convolutions and one linear classifier on the globally pooled map, as in the CRD benchmark (Tian et
al. 2020), whose parameter names these are.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.models.network import Maps, Staged

WIDTHS = (64, 128, 256, 512, 512)
SETTINGS: dict[str, int] = {"vgg8": 1, "vgg13": 2}  # name -> convolutions a group


class PoolLarge(nn.Module):
    """Halve maps of at least 8×8: 32 pixels keep a map of 4×4 for the last group, larger images pool once more."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) if min(x.shape[-2:]) >= 8 else x


class VGG(Staged):
    """The last map of (B, C, H, W) is (B, 512, h, w); h = H/8, or H/16 for images of at least 64 pixels a side."""

    def __init__(self, convolutions: int, channels: int, classes: int):
        super().__init__()
        before = (channels, *WIDTHS[:-1])
        self.block0, self.block1, self.block2, self.block3, self.block4 = (
            _group(convolutions, wide_in, wide) for wide_in, wide in zip(before, WIDTHS, strict=True)
        )
        self.pool1, self.pool2, self.pool3 = nn.MaxPool2d(2), nn.MaxPool2d(2), PoolLarge()
        self.classifier = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward_maps(self, x: Tensor) -> Maps:
        """The maps of groups 1 to 4, each after its last ReLU and before pooling; group 0 counts as the stem."""
        stem = F.relu(self.block0(x))
        preact, stages = [self.block1(F.max_pool2d(stem, 2))], []
        for pool, block in ((self.pool1, self.block2), (self.pool2, self.block3), (self.pool3, self.block4)):
            stages.append(F.relu(preact[-1]))
            preact.append(block(pool(stages[-1])))
        stages.append(F.relu(preact[-1]))
        return Maps(stem, stages, preact, stages[-1])

    def last_stage_module(self) -> nn.Module:
        """From the last map but one to the last; the network's own layers, so copy it before training it apart."""
        return nn.Sequential(self.pool3, self.block4, nn.ReLU())


def _group(convolutions: int, wide_in: int, wide: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU, …; the last ReLU is the caller's."""
    layers: list[nn.Module] = []
    for index in range(convolutions):
        if index:
            layers.append(nn.ReLU())
        layers += [nn.Conv2d(wide if index else wide_in, wide, 3, padding=1), nn.BatchNorm2d(wide)]
    return nn.Sequential(*layers)


def build(arch: str, channels: int, classes: int) -> VGG:
    """The network called `arch` in `SETTINGS`."""
    return VGG(SETTINGS[arch], channels, classes)

"""VGG with batch norm for small images: after Simonyan and Zisserman 2015, "Very Deep Convolutional Networks".

Five groups of 3×3 convolutions and one linear classifier on the globally pooled map, as in the CRD benchmark (Tian et
al. 2020), whose parameter names these are.
"""

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 128, 256, 512, 512)
SETTINGS: dict[str, int] = {"vgg8": 1, "vgg13": 2}  # name -> convolutions a group


class VGG(nn.Module):
    def __init__(self, convolutions: int, channels: int, classes: int):
        super().__init__()
        before = (channels, *WIDTHS[:-1])
        self.block0, self.block1, self.block2, self.block3, self.block4 = (
            _group(convolutions, wide_in, wide) for wide_in, wide in zip(before, WIDTHS, strict=True)
        )
        self.classifier = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 512, h, w); h = H/8, or H/16 for images of at least 64 pixels a side."""
        x = F.max_pool2d(F.relu(self.block0(x)), 2)
        x = F.max_pool2d(F.relu(self.block1(x)), 2)
        x = F.max_pool2d(F.relu(self.block2(x)), 2)
        x = F.relu(self.block3(x))
        if min(x.shape[-2:]) >= 8:  # 32 pixels keep a map of 4×4 for the last group, larger images pool once more
            x = F.max_pool2d(x, 2)
        return F.relu(self.block4(x))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        embedding = F.adaptive_avg_pool2d(features, 1).flatten(1)
        return embedding if pre_logits else self.classifier(embedding)

    def get_classifier(self) -> nn.Linear:
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


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

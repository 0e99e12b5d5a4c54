"""From stored pixels to what a model eats: scale, resize, normalise. Teacher, student and serving share it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError


def to_float(
    images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor, resize: int | None = None
) -> Tensor:
    """uint8 images (B, C, H, W) -> float32 (B, C, h, w): scaled to 0..1, resized to a square, minus mean, over std.

    `mean` and `std` hold one number per channel, or one for all; in a loop give tensors that live on the images'
    device, since a list is copied there on every call. `resize` is pixels a side (bicubic, antialiased, clamped).
    Raises UserError where mean or std do not match the channels.
    """
    channels = images.shape[1]
    scaled = images.to(torch.float32).div_(255)
    if resize is not None and tuple(images.shape[-2:]) != (resize, resize):
        scaled = F.interpolate(scaled, (resize, resize), mode="bicubic", antialias=True).clamp_(0, 1)
    return scaled.sub_(_per_channel(mean, "mean", channels, scaled)).div_(_per_channel(std, "std", channels, scaled))


class Normalise(nn.Module):
    """`to_float` with these settings, as a module that moves between devices and can be traced."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], resize: int | None = None) -> None:
        super().__init__()
        self.resize = resize
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        return to_float(images, self.mean, self.std, self.resize)


def _per_channel(values: Sequence[float] | Tensor, name: str, channels: int, like: Tensor) -> Tensor:
    tensor = torch.as_tensor(values, dtype=torch.float32, device=like.device).reshape(-1, 1, 1)
    if len(tensor) not in (1, channels):
        raise UserError(f"{name}: found {len(tensor)} values for images of {channels} channels; give one per channel")
    return tensor

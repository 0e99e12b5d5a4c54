"""Strong augmentation of images, batched on the device: what consistency methods show a student beside the weakly augmented image.

Every random number comes from the generator that is given, and none is read back from the device.
"""

import torch
from torch import Tensor

from tuition.losses.mixing import draw_boxes

BRIGHTNESS, CONTRAST, SATURATION = 0.8, 0.6, 0.8  # at most, as shares of an image's spread, contrast and colour
HIDDEN = 0.25  # of the area, by a box of half the sides


def strengthen(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, c, H, W), normalised, each with another brightness, contrast and (of three channels) saturation, and a box hidden by
    its mean."""
    count, channels, height, width = images.shape
    drawn = 2 * torch.rand(3, count, 1, 1, 1, generator=generator, device=images.device, dtype=images.dtype) - 1
    mean = images.mean((1, 2, 3), keepdim=True)
    changed = mean + (1 + CONTRAST * drawn[1]) * (images - mean) + BRIGHTNESS * drawn[0]
    if channels == 3:
        grey = changed.mean(1, keepdim=True)
        changed = grey + (1 + SATURATION * drawn[2]) * (changed - grey)
    outside = torch.full((count,), 1 - HIDDEN, device=images.device)
    box = draw_boxes(outside, height, width, generator)
    return torch.where(box, changed.mean((1, 2, 3), keepdim=True), changed).contiguous(
        memory_format=torch.channels_last
    )

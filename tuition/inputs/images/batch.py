"""Images as training has them: held once on the device, and taken from there in batches, cropped, flipped and normalised."""

from collections.abc import Sequence

import torch
from torch import Tensor


class PlacedImages:
    """Images (N, C, H, W) uint8 on their device, of which `batch` takes some as a student sees them.

    They are held once, padded for crops of up to `crop` pixels each way and with the channels last, so that a gathered batch is
    channels_last as it is. `mean` and `std` are a channel's, of pixels scaled to 0..1.
    """

    def __init__(self, images: Tensor, *, mean: Sequence[float], std: Sequence[float], crop: int, flip: bool):
        self.size, self.crop, self.flip = images.shape[-2:], crop, flip
        self.device = images.device
        padded = torch.nn.functional.pad(images, (crop,) * 4)
        self._padded = padded.permute(0, 2, 3, 1).contiguous()
        self._mean, self._std = (torch.tensor(values, device=self.device) for values in (mean, std))
        self._shift, self._scale = 255 * self._mean, 1 / (255 * self._std)

    def __len__(self) -> int:
        return len(self._padded)

    @property
    def stored(self) -> Tensor:
        """The images (N, C, H, W) uint8 as they came; no copy."""
        height, width = self.size
        inside = self._padded[:, self.crop : self.crop + height, self.crop : self.crop + width]
        return inside.permute(0, 3, 1, 2)

    def normalise(self, stored: Tensor) -> Tensor:
        """Such images (…, C, H, W) uint8, as the student sees them: float32."""
        return (stored.float() / 255 - self._mean[:, None, None]) / self._std[:, None, None]

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The images of rows (B,), each cropped and flipped by chance: (B, C, H, W) float32, normalised."""
        height, width = self.size
        if not self.crop and not self.flip:
            return self._normalised(self._padded[index])
        device, count = index.device, len(index)
        shift = torch.randint(0, 2 * self.crop + 1, (2, count, 1), generator=generator, device=device)
        rows = shift[0] + torch.arange(height, device=device)
        columns = torch.arange(width, device=device).expand(count, width)
        if self.flip:
            flipped = torch.rand(count, 1, generator=generator, device=device) < 0.5
            columns = torch.where(flipped, width - 1 - columns, columns)
        columns = columns + shift[1]
        return self._normalised(self._padded[index[:, None, None], rows[:, :, None], columns[:, None, :]])

    def _normalised(self, pixels: Tensor) -> Tensor:
        return ((pixels.float() - self._shift) * self._scale).permute(0, 3, 1, 2)

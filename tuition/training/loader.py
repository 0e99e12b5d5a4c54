"""Batches from data that lives on the device: one gather takes, crops and flips a batch, with no copy from the host.

Every batch is a function of (seed, step) alone, so a run that was killed goes on with the batches it would have had.
"""

import torch
from torch import Tensor

from tuition.losses.comparisons import Groups, in_batch, listed
from tuition.methods.protocol import Batch


class Loader:
    """An endless sequence of training batches, by step.

    images (N, C, H, W) uint8, labels (N,) int64, teacher {signal: (N, …)} on one device; `members` (M, k) int64 makes every
    batch ⌊batch_size / k⌋ whole groups; without them it is `batch_size` samples without replacement (all N where N is less).
    `weights` (k,) are one group's weights: with `members`, or alone for comparisons within each batch. `others` and `present` as in
    `Context`.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        teacher: dict[str, Tensor],
        *,
        mean: list[float],
        std: list[float],
        batch_size: int,
        crop: int,
        flip: bool,
        seed: int,
        members: Tensor | None = None,
        weights: Tensor | None = None,
        others: dict[str, dict[str, Tensor]] | None = None,
        present: dict[str, Tensor] | None = None,
    ):
        device = images.device
        self.size = images.shape[-2:]
        padded = torch.nn.functional.pad(images, (crop,) * 4)
        self.pixels = padded.permute(
            0, 2, 3, 1
        ).contiguous()  # (N, H, W, C): a gathered batch is channels_last as it is
        self.labels, self.teacher, self.members = labels, teacher, members
        self.others, self.present = others or {}, present or {}
        self.mean = 255 * torch.tensor(mean, device=device)
        self.scale = 1 / (255 * torch.tensor(std, device=device))
        self.crop, self.flip, self.seed = crop, flip, seed
        units = len(images) if members is None else len(members)
        per_unit = 1 if members is None else members.shape[1]
        self.take = max(1, min(batch_size // per_unit, units))
        self.batch_size = self.take * per_unit
        self.per_epoch = units // self.take
        self.generator = torch.Generator(device)
        self.order, self.epoch, self.units = torch.empty(0), -1, units
        self.groups: Groups | None = None
        if weights is not None:
            made = listed(self.take, weights) if members is not None else in_batch(self.batch_size, weights)
            self.groups = made._replace(matrix=made.matrix.to(device))

    def batch(self, step: int) -> Batch:
        """The batch of `step` (from 0)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self._reseed(2 * epoch)
            self.order = torch.randperm(self.units, generator=self.generator, device=self.pixels.device)
            self.epoch = epoch
        index = self.order[place * self.take : (place + 1) * self.take]
        if self.members is not None:
            index = self.members[index].flatten()
        self._reseed(2 * step + 1)
        others = {name: _taken(one, index) for name, one in self.others.items()}
        present = {name: one[index] for name, one in self.present.items()}
        return Batch(
            inputs=self._images(index),
            labels=self.labels[index],
            teacher=_taken(self.teacher, index),
            groups=self.groups,
            rows=index,
            step=step,
            generator=self.generator,
            others=others,
            present=present,
        )

    def _reseed(self, number: int) -> None:
        # Odd numbers are steps, even ones epochs; the multiplier keeps seeds apart for any length of training.
        self.generator.manual_seed((self.seed * 1_000_000_007 + number) % 2**63)

    def _images(self, index: Tensor) -> Tensor:
        height, width = self.size
        if not self.crop and not self.flip:
            return self._normalised(self.pixels[index])
        device, count = index.device, len(index)
        shift = torch.randint(0, 2 * self.crop + 1, (2, count, 1), generator=self.generator, device=device)
        rows = shift[0] + torch.arange(height, device=device)
        columns = torch.arange(width, device=device).expand(count, width)
        if self.flip:
            flipped = torch.rand(count, 1, generator=self.generator, device=device) < 0.5
            columns = torch.where(flipped, width - 1 - columns, columns)
        columns = columns + shift[1]
        return self._normalised(self.pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]])

    def _normalised(self, pixels: Tensor) -> Tensor:
        return ((pixels.float() - self.mean) * self.scale).permute(0, 3, 1, 2)


def _taken(said: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """A teacher's signals of these rows. Stored halves become float32; packed bits stay what they are."""
    taken = {signal: values[index] for signal, values in said.items()}
    return {signal: values.float() if values.is_floating_point() else values for signal, values in taken.items()}

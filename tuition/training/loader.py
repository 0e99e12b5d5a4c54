"""Batches from data that lives on the device, with no copy from the host. What a sample is, its inputs know.

Every batch is a function of (seed, step) alone, so a run that was killed goes on with the batches it would have had.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from tuition.inputs.protocol import Placed
from tuition.losses.comparisons import Groups, in_batch, listed
from tuition.methods.protocol import Batch, Rest


class Batches(Protocol):
    """What training takes a batch of each step from."""

    def batch(self, step: int) -> Any: ...


class Loader:
    """An endless sequence of training batches, by step.

    inputs, labels (N,) int64, teacher {signal: (N, …)} on one device; `members` (M, k) int64 makes every batch ⌊batch_size / k⌋ whole
    groups; without them it is `batch_size` samples without replacement (all N where N is less).
    `weights` (k,) are one group's weights: with `members`, or alone for comparisons within each batch. `others` and `present` as in
    `Context`.
    """

    def __init__(
        self,
        inputs: Placed,
        labels: Tensor,
        teacher: dict[str, Tensor],
        *,
        batch_size: int,
        seed: int,
        members: Tensor | None = None,
        weights: Tensor | None = None,
        others: dict[str, dict[str, Tensor]] | None = None,
        present: dict[str, Tensor] | None = None,
    ):
        self.inputs, self.labels, self.teacher, self.members = inputs, labels, teacher, members
        self.others, self.present = others or {}, present or {}
        self.seed = seed
        self.units = len(inputs) if members is None else len(members)
        per_unit = 1 if members is None else members.shape[1]
        self.take = max(1, min(batch_size // per_unit, self.units))
        self.batch_size = self.take * per_unit
        self.per_epoch = self.units // self.take
        self.rest: Callable[[int], Rest] | None = None  # what rides behind the batch of a step
        self.generator = torch.Generator(inputs.device)
        self.order, self.epoch = torch.empty(0), -1
        self.groups: Groups | None = None
        if weights is not None:
            made = listed(self.take, weights) if members is not None else in_batch(self.batch_size, weights)
            parts = made.parts and (made.parts[0].to(inputs.device), made.parts[1].to(inputs.device))
            self.groups = made._replace(matrix=made.matrix.to(inputs.device), parts=parts)

    def batch(self, step: int) -> Batch:
        """The batch of `step` (from 0)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self._reseed(2 * epoch)
            self.order = torch.randperm(self.units, generator=self.generator, device=self.inputs.device)
            self.epoch = epoch
        index = self.order[place * self.take : (place + 1) * self.take]
        if self.members is not None:
            index = self.members[index].flatten()
        self._reseed(2 * step + 1)
        others = {name: _taken(one, index) for name, one in self.others.items()}
        present = {name: one[index] for name, one in self.present.items()}
        return Batch(
            inputs=self.inputs.batch(index, self.generator),
            labels=self.labels[index],
            teacher=_taken(self.teacher, index),
            groups=self.groups,
            rows=index,
            step=step,
            generator=self.generator,
            others=others,
            present=present,
            rest=self.rest(step) if self.rest else None,
        )

    def _reseed(self, number: int) -> None:
        # Odd numbers are steps, even ones epochs; the multiplier keeps seeds apart for any length of training.
        self.generator.manual_seed((self.seed * 1_000_000_007 + number) % 2**63)


def _taken(signals: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """A teacher's signals of these rows. Stored halves become float32; packed bits stay what they are."""
    taken = {signal: values[index] for signal, values in signals.items()}
    return {signal: values.float() if values.is_floating_point() else values for signal, values in taken.items()}

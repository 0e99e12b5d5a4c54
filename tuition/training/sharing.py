"""What processes that train one student share: every one draws the whole batch, runs the student on its part of the batch, and has what
the student says of all of them, so that methods know nothing of it.

All processes then have the same loss. The gradient of a process's part reaches the student through its own part alone; DDP takes the mean
over the processes, so it is multiplied by their number here: the mean of these is the gradient of the whole batch. What stands
outside the student (heads, banks) sees the whole batch in every process, has the same gradient in all, and the mean changes nothing.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def part(inputs: Tensor) -> Tensor:
    """This process's share of inputs (B, …): the number-th of as many slices as there are processes, whose sizes differ by one at most."""
    return inputs.tensor_split(dist.get_world_size())[dist.get_rank()]


def whole(parts: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """What the student says of all `count` inputs, from what it says of each process's share."""
    return {name: _Whole.apply(value, count) for name, value in parts.items()}


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, count: int) -> Tensor:
        sizes = _sizes(count)
        first = sum(sizes[: dist.get_rank()])
        ctx.rows = slice(first, first + len(own))
        if own.dim() == 4 and own.is_contiguous(memory_format=torch.channels_last):
            return _stacked(own.permute(0, 2, 3, 1), sizes).permute(0, 3, 1, 2)
        return _stacked(own, sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0][ctx.rows] * dist.get_world_size(), None


def every_nth(items: list[Any]) -> Iterator[tuple[int, Any]]:
    """This process's share of the items, each with its place among all."""
    for place in range(dist.get_rank(), len(items), dist.get_world_size()):
        yield place, items[place]


def add(values: Tensor) -> None:
    """Put in place of `values` the sum of all processes' ones."""
    dist.all_reduce(values)


def _sizes(count: int) -> list[int]:
    """Of the slices that `tensor_split` makes of `count` rows."""
    world = dist.get_world_size()
    return [count // world + (place < count % world) for place in range(world)]


def _stacked(own: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all processes, in their order; `sizes` says how many each has."""
    most = max(sizes)
    padded = own.contiguous()
    if len(own) < most:  # collectives want one size
        padded = torch.cat([padded, padded.new_zeros(most - len(own), *own.shape[1:])])
    every = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(every, padded)
    return torch.cat([rows[:size] for rows, size in zip(every, sizes, strict=True)])


def every_state(state: Tensor, device: torch.device) -> Tensor:
    """The state (n,) of a random generator in each process: (processes, n), on the host."""
    own = state.to(device)
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    return torch.stack(every).cpu()


def make_even(module: nn.Module) -> None:
    """Hold all processes to the same weights, to the bit, and give them the first one's buffers.

    On a GPU, sums of which one process may take the terms in another order than the next could move buffers apart; weights cannot
    move, since their gradients are the mean of all. Raises RuntimeError where they did.
    """
    sums = torch.stack([weight.detach().flatten().view(torch.int32).sum() for weight in module.parameters()])
    bounds = torch.cat([sums, -sums])
    dist.all_reduce(bounds, dist.ReduceOp.MAX)
    if not torch.equal(bounds[: len(sums)], -bounds[len(sums) :]):
        raise RuntimeError("the processes' weights have moved apart, which must not be; nothing was saved")
    for buffer in module.buffers():
        shared = buffer.contiguous()
        dist.broadcast(shared, 0)
        buffer.copy_(shared)

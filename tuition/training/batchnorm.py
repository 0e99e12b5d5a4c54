"""Batch norm over the whole batch where several processes see a part of it each: the output, the running statistics and the gradients
that one process would have, up to rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tuition.errors import UserError


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with its batch norms synchronised, their parameters and buffers and all names kept.

    PyTorch's own where there is a GPU; it has none for the CPU, so there it is the one below. Raises UserError for a batch norm that
    normalises in a way of its own.
    """
    from timm.layers import BatchNormAct2d, convert_sync_batchnorm

    for name, norm in model.named_modules():
        known = type(norm).forward in (_BatchNorm.forward, BatchNormAct2d.forward)
        if isinstance(norm, _BatchNorm) and not known:
            raise UserError(
                f"params.yaml: devices: {getattr(model, 'arch', type(model).__name__)}: its module {name} is a {type(norm).__name__}, "
                "whose statistics cannot be shared among processes; valid: 1"
            )
    if device.type == "cuda":
        return convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, SynchronisedBatchNorm(child))
    return model


class SynchronisedBatchNorm(_BatchNorm):
    """`norm`, of the same parameters and buffers; in training it normalises by the statistics of all processes' samples together."""

    def __init__(self, norm: _BatchNorm):
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(norm, name))
        self.training = norm.training
        self.drop = getattr(norm, "drop", nn.Identity())  # timm's norms have these two
        self.act = getattr(norm, "act", nn.Identity())

    def _check_input_dim(self, input: Tensor) -> None:
        """Any (B, C, …)."""

    @torch.compiler.disable
    def forward(self, input: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if not self.training:
            out = F.batch_norm(input, mean, var, self.weight, self.bias, mean is None, 0.0, self.eps)
            return self.act(self.drop(out))
        momentum = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        out = _Normalise.apply(input, self.weight, self.bias, mean, var, momentum, self.eps)
        return self.act(self.drop(out))


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        var, mean = torch.var_mean(x.float() if x.dtype.itemsize < 4 else x, [0, *range(2, x.dim())], correction=0)
        own = torch.cat([mean.double(), var.double(), mean.new_tensor([x.numel() // len(mean)]).double()])
        every = torch.stack(_gathered(own))
        means, variances, counts = every[:, : len(mean)], every[:, len(mean) : -1], every[:, -1:]
        total = counts.sum()
        if total <= 1:
            raise ValueError(f"expected more than one value a channel in training, found images {tuple(x.shape)}")
        whole = (counts * means).sum(0) / total
        spread = (counts * (variances + (means - whole).square())).sum(0) / total
        if running_mean is not None:
            running_mean.lerp_(whole.to(running_mean.dtype), momentum)
            running_var.lerp_((spread * (total / (total - 1))).to(running_var.dtype), momentum)
        mean, var = whole.to(mean.dtype), spread.to(mean.dtype)
        ctx.save_for_backward(x, weight, mean, var, total)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """dx = w·σ⁻¹·(dy − mean dy − x̂ · mean dy·x̂), the means over all processes; of w and b each process's own part."""
        x, weight, mean, var, total = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        # As though the statistics were constants; then what they owe to x.
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, scale, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([dw, db]).double()
        dist.all_reduce(sums)
        by_x, by_one = (part.to(mean.dtype) for part in (sums / total).chunk(2))
        inverse = torch.rsqrt(var + ctx.eps)
        shape = (1, -1, *[1] * (x.dim() - 2))
        shift, slope = -scale * inverse * by_one, -scale * inverse.square() * by_x
        dx = dx + shift.view(shape) + (x - mean.view(shape)) * slope.view(shape)
        affine = (dw, db) if weight is not None else (None, None)
        return dx.to(x.dtype), *affine, None, None, None, None


def _gathered(own: Tensor) -> list[Tensor]:
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    return every

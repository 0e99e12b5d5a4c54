"""The loops that Tuition's speed is measured against: plain torch, nothing around it, written out method by method."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.methods import Batch

T = 4.0
SETTINGS = {  # of the same methods in tuition.methods
    "ce": {},
    "kd": {"temperature": T, "weight_ce": 0.1, "weight_kd": 0.9},
    "ckd-mse": {"labels": "ce"},
    "ckd-kl": {"labels": "difference", "temperature": T},
}


def _kd(student: Tensor, teacher: Tensor) -> Tensor:
    theirs = F.log_softmax(teacher / T, 1)
    return T**2 * F.kl_div(F.log_softmax(student / T, 1), theirs, reduction="batchmean", log_target=True)


def ce(logits: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(logits, batch.labels)


def kd(logits: Tensor, batch: Batch) -> Tensor:
    return 0.1 * F.cross_entropy(logits, batch.labels) + 0.9 * _kd(logits, batch.teacher["logits"])


def ckd_mse(logits: Tensor, batch: Batch) -> Tensor:
    """Pairs: all of the batch, in closed form (weights 1 and -1: the sum of squares is 2)."""
    return 2 * (logits - batch.teacher["logits"]).var(0).mean() + F.cross_entropy(logits, batch.labels)


def ckd_kl(logits: Tensor, batch: Batch) -> Tensor:
    matrix = batch.groups.matrix
    ours = matrix @ logits
    truth = matrix @ F.one_hot(batch.labels, logits.shape[1]).float()
    return _kd(ours, matrix @ batch.teacher["logits"]) + _kd(ours, truth)


LOSSES: dict[str, Callable[[Tensor, Batch], Tensor]] = {"ce": ce, "kd": kd, "ckd-mse": ckd_mse, "ckd-kl": ckd_kl}


def wait(device: torch.device) -> float:
    """The time, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def train(model: nn.Module, batches: Sequence[Batch], loss: Callable[[Tensor, Batch], Tensor], half: bool) -> float:
    """Seconds a step, over all batches but the first, which warms up."""
    device = batches[0].labels.device
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    model.train()
    begin = 0.0
    for i, batch in enumerate(batches):
        if i == 1:
            begin = wait(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = model(batch.inputs)
        loss(logits.float(), batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return (wait(device) - begin) / (len(batches) - 1)


@torch.inference_mode()
def answer(model: nn.Module, images: Tensor, mean: float, std: float, batch: int) -> float:
    """Seconds that a model takes for images (N, C, H, W) uint8 in host memory, with its outputs brought back there."""
    device = next(model.parameters()).device
    begin = time.perf_counter()
    outputs = []
    for first in range(0, len(images), batch):
        x = images[first : first + batch].to(device).float().div_(255).sub_(mean).div_(std)
        outputs.append(model(x.to(memory_format=torch.channels_last)).cpu())
    torch.cat(outputs).numpy()
    return time.perf_counter() - begin

"""`python -m support.processes.exact FILE`: how far the processes are, in float64, from one process on the whole batch,
for several networks.

{network: largest difference, relative to the largest entry, of outputs, gradients and buffers}, from the first process.
"""

import sys
from copy import deepcopy
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn

from tuition.files import write_json
from tuition.models import build, signals
from tuition.training import processes, sharing
from tuition.training.batchnorm import synchronised

COUNT, SIDE = 13, 16


class Plain(nn.Module):
    """Norms with settings that no student has."""

    arch, taps = "plain", ()

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6, momentum=None), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 14 * 14, 8), nn.BatchNorm1d(8, affine=False))
        self.last = nn.Sequential(nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 10))

    def forward_features(self, images):
        return self.body(images)

    def forward_head(self, features, pre_logits):
        return self.head(features)

    def get_classifier(self):
        return self.last


def look(model, images, labels, several):
    """(what the student says, gradients, buffers) for a loss that compares the samples of the batch, on two steps' running statistics."""
    maps = hasattr(model, "forward_stages")
    for _ in range(2):
        model.zero_grad()
        said = signals(model, sharing.part(images) if several else images, maps)
        said = sharing.whole(said, len(images)) if several else said
        relation = (said["embedding"] @ said["embedding"].T).tanh().mean()
        energies = sum(said[name].square().mean((1, 2, 3)).std() for name in said if name.startswith("map"))
        (nn.functional.cross_entropy(said["logits"], labels) + relation + energies).backward()
    grads = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    if several:
        for grad in grads.values():  # as DDP does
            dist.all_reduce(grad)
            grad /= dist.get_world_size()
    return {name: value.detach() for name, value in said.items()}, grads, dict(model.named_buffers())


def far(one, other):
    assert one.keys() == other.keys()
    gaps = [(one[key] - other[key]).abs().max() / one[key].abs().max().clamp(min=1e-3) for key in one]
    return float(torch.stack([gap.double() for gap in gaps]).max())


if __name__ == "__main__":
    dist.init_process_group("gloo")
    found = {}
    for arch in ("plain", "resnet8", "wrn_16_1", "mobilenetv2_half", "timm:efficientnet_lite0"):
        torch.manual_seed(0)
        alone = (Plain() if arch == "plain" else build(arch, channels=1, classes=10, size=(SIDE, SIDE))).double()
        together = synchronised(deepcopy(alone), torch.device("cpu"))
        images = torch.randn(COUNT, 1, SIDE, SIDE, dtype=torch.double).to(memory_format=torch.channels_last)
        labels = torch.arange(COUNT) % 10
        one, other = look(alone, images, labels, False), look(together, images, labels, True)
        found[arch] = max(far(*pair) for pair in zip(one, other, strict=True))
        sharing.make_even(together)
        with torch.no_grad():
            alone.eval(), together.eval()
            found[f"{arch} in use"] = float((alone(images) - together(images)).abs().max()) if arch != "plain" else 0.0
    if not processes.rank():
        write_json(Path(sys.argv[1]), found)
    dist.destroy_process_group()

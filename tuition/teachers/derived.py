"""What a local model says beside its logits: smaller things than its maps that methods ask for, each from one definition.

B images; a stage's map is (B, c, h, w), shallow to deep (`tuition.models.network.Maps`). Definitions are in `tuition/signals.py`.
"""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from tuition.inputs.images.preprocess import to_float
from tuition.models.maps import energy, flow

PRUNED_SHARE = 0.1
ATTACK_STEPS, ATTACK_RATE, OVERSHOOT = 10, 0.3, 0.05


def from_maps(stem: Tensor | None, stages: list[Tensor], preact: list[Tensor], families: set[str]) -> dict[str, Tensor]:
    """pooled, energy, map, preact, sign and flow of the stages' maps, as far as `families` asks for them."""
    said: dict[str, Tensor] = {}
    for place, (stage, before) in enumerate(zip(stages, preact, strict=True), start=1):
        stage = stage.float()
        if "pooled" in families:
            said[f"pooled{place}"] = stage.mean((2, 3))
        if "energy" in families:
            said[f"energy{place}"] = F.normalize(energy(stage).flatten(1)).view(len(stage), *stage.shape[2:])
        if "map" in families:
            said[f"map{place}"] = stage
        if "preact" in families:
            said[f"preact{place}"] = before.float()
        if "sign" in families:
            said[f"sign{place}"] = pack(before > 0)
    if "flow" in families:
        every = [one.float() for one in (stem, *stages) if one is not None]
        said |= {f"flow{place}": flow(*pair) for place, pair in enumerate(pairwise(every), start=1)}
    return said


def pack(on: Tensor) -> Tensor:
    """Bits (B, c, h, w) bool packed over channels, the first in the highest bit: (B, ⌈c/8⌉, h, w) uint8, as numpy.packbits."""
    batch, channels, *place = on.shape
    padded = torch.zeros(batch, -channels % 8, *place, dtype=torch.bool, device=on.device)
    octets = torch.cat([on, padded], 1).view(batch, -1, 8, *place).to(torch.uint8)
    weights = 2 ** torch.arange(7, -1, -1, device=on.device, dtype=torch.uint8)
    return (octets * weights[:, None, None]).sum(2, dtype=torch.uint8)


def pruned_copy(model: nn.Module) -> nn.Module:
    """A copy of `model` in eval mode in which a tenth of the weights of each convolution and linear layer, the smallest by
    magnitude, are zero; it is not trained again (arXiv 2311.13934 [code], which leaves it in training mode)."""
    twin = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()  # which pruning needs
    for module in twin.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.l1_unstructured(module, "weight", PRUNED_SHARE)
            prune.remove(module, "weight")
    return twin


def boundary(model: nn.Module, images: Tensor, mean: Tensor, std: Tensor, resize: int | None) -> dict[str, Tensor]:
    """Images just across the model's nearest decision boundary, and its logits on them (BSS, arXiv 1805.05532 [code]).

    images (B, C, H, W) uint8. From each image up to 10 steps down the gap between the class it is given and the next likely one:
    x ← x − 0.3 (gap + 0.05) ∇gap / ‖∇gap‖ in values normalised by mean and std, and no further once it is crossed. Returns
    supporting (B, C, H, W) uint8, supporting_logits (B, classes). (Steps over ‖∇gap‖² were once called boundary, boundary_logits;
    what is owned under those names is not taken for these.)

    Ours differs from the released attack: the other class is the likeliest and not drawn, so that the answer is a function of the
    image; images end in pixels 0..255, theirs in normalised values clamped to ±2.5; theirs overshoots by 1e-4, which rounding to
    pixels would undo, and stops at any change of the likeliest class.
    """
    start = images.float()
    with torch.no_grad():
        top = model(to_float(images, mean, std, resize)).topk(2, dim=1).indices
    x, crossed = start.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
    unit = 255 * std.view(-1, 1, 1)  # pixels to one normalised value
    for _ in range(ATTACK_STEPS):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = model(to_float(x.clone(), mean, std, resize))
            gap = logits.gather(1, top[:, :1]) - logits.gather(1, top[:, 1:])
            slope = unit * torch.autograd.grad(gap.sum(), x)[0]
        crossed = crossed | (gap.detach().squeeze(1) < 0)
        length = slope.flatten(1).norm(dim=1).clamp_min(1e-12)
        step = ATTACK_RATE * (gap.detach().squeeze(1) + OVERSHOOT) / length
        moved = (x.detach() - step.view(-1, 1, 1, 1) * unit * slope).clamp(0, 255)
        x = torch.where(crossed.view(-1, 1, 1, 1), x.detach(), moved)
    found = x.round().to(torch.uint8)
    with torch.no_grad():
        return {"supporting": found, "supporting_logits": model(to_float(found, mean, std, resize)).float()}

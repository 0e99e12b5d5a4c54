"""`ft`: factor transfer (Kim et al. 2018, arXiv 1802.04977 [code]).

Before training, a paraphraser (a convolutional autoencoder) learns the teacher's last maps: half as many channels as they have are its
factors F^t. Then it is frozen, and a translator beside the student learns to give the same factors F^s from the student's last map.
Loss: weight · mean |F^s/‖F^s‖ − F^t/‖F^t‖|, each sample's factors as one vector.
That is the paper's form; RepDistiller, whose weight this is, first takes the energy of the factors, which makes larger entries, so the
same weight is weaker here. The paraphraser sees the cached maps only: Adam, `pretrain_steps` batches of 64, no more steps than the
training itself has. Where sizes differ the larger factors are average-pooled.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.layers import paired, same_size
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive

BATCH, RATE = 64, 1e-3


class FT(nn.Module):
    source, evidence = "arXiv 1802.04977", "code"
    signals: tuple[str, ...] = ("map",)
    maps = True
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 200.0, rate: Positive = 0.5, pretrain_steps: int = 200):
        super().__init__()
        self.weight, self.rate, self.pretrain_steps = weight, rate, pretrain_steps
        if pretrain_steps < 0:
            raise UserError(f"params.yaml: methods.ft.pretrain_steps: found {pretrain_steps}, expected 0 or more")

    def setup(self, context: Context) -> None:
        self.ours, self.theirs = paired(context.student, context.teacher)[-1]
        maps = context.teacher[self.theirs]
        wide, factors = maps.shape[1], max(1, round(self.rate * maps.shape[1]))
        self.paraphraser = layers(wide, wide, factors, factors)
        self.translator = layers(context.student[self.ours][0], context.student[self.ours][0], factors, factors)
        steps = min(self.pretrain_steps, context.steps)
        pretrain(self.paraphraser, layers(factors, factors, wide, wide), maps, steps, context.seed)
        self.paraphraser.requires_grad_(False)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        self.paraphraser.eval()  # the loop puts all that trains in training mode; this no longer trains
        theirs = batch.teacher[self.theirs].detach()
        with torch.no_grad():
            theirs = self.paraphraser(theirs).to(theirs.dtype)
        ours, theirs = same_size(self.translator(student[self.ours]).to(theirs.dtype), theirs)
        return {"teacher": self.weight * F.l1_loss(F.normalize(ours.flatten(1)), F.normalize(theirs.flatten(1)))}


def layers(*widths: int) -> nn.Sequential:
    """3×3 convolutions with batch norm and LeakyReLU from one width to the next."""
    parts: list[nn.Module] = []
    for wide_in, wide in pairwise(widths):
        parts += [nn.Conv2d(wide_in, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.1)]
    return nn.Sequential(*parts)


@torch.enable_grad()
def pretrain(encoder: nn.Module, decoder: nn.Module, maps: Tensor, steps: int, seed: int) -> None:
    """Train both to give maps (n, c, h, w) back from the encoder's factors. Draws rows from a generator of its own."""
    both = nn.Sequential(encoder, decoder).to(maps.device).train()
    optimizer = torch.optim.Adam(both.parameters(), lr=RATE)
    generator = torch.Generator(maps.device).manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(maps), (min(BATCH, len(maps)),), generator=generator, device=maps.device)
        sample = maps[rows].float()
        F.mse_loss(both(sample), sample).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

"""`r2kd`: Robustness-Reinforced Knowledge Distillation (arXiv 2311.13934 [code]).

Target: z = (1 − share) · z^t + share · z^pruned, share = 0.3, of the teacher and a copy with 10 % of its weights
pruned. With p, q the softmax of z^s, z at T = 4:
value = 2·T²·[(1 − mean over samples of cos(p_i·, q_i·)) + (1 − mean over classes of cos(p_·c, q_·c))], uncentred;
rank = 2·[1 − mean Spearman(p_i·, q_i·)]. Loss: CE on the clean batch, and value + rank on it and on an augmented copy
of it.
Where ours differs:
- the released rank term takes ranks by argsort and has no gradient; ours are soft ranks of the logits (same order as
  p), by sigmoids at `rank_temperature`, O(C²) a sample (tuition/losses/ranks.py) [ours]. The pruned copy is evaluated in
  eval mode, not with the batch's norms;
- the teacher is not called on augmented images: a mixed image's target is the same mix of the targets [ours], a
  cut-out's its own.
- `augment`: mixup, cutmix, cutout or none, one λ ~ U(0, 1) or box a batch; a cut-out box has half the image's sides.
  The paper's AutoAugment and CutMixPick are left out.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.losses.ranks import soft_spearman
from tuition.losses.relations import correlation
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative, Positive


class R2KD(nn.Module):
    source, evidence = "arXiv 2311.13934", "code"
    signals: tuple[str, ...] = ("logits", "pruned")
    inputs = ("images",)
    label_use = "used"

    def __init__(
        self,
        *,
        weight_value: NotNegative = 2.0,
        weight_rank: NotNegative = 2.0,
        share: NotNegative = 0.3,
        temperature: Positive = 4.0,
        rank_temperature: Positive = 1.0,
        augment: Literal["mixup", "cutmix", "cutout", "none"] = "mixup",
    ):
        super().__init__()
        if share > 1:
            raise UserError(f"params.yaml: methods.r2kd.share: found {share}, expected 0 to 1")
        self.weight_value, self.weight_rank, self.share = weight_value, weight_rank, share
        self.temperature, self.rank_temperature, self.augmentation = temperature, rank_temperature, augment

    def augment(self, batch: Batch) -> Batch:
        """The batch with an augmented copy of its images behind them; `extra` says what each became a mix of."""
        if self.augmentation == "none":
            return batch
        images, generator = batch.inputs, batch.generator
        device = images.device
        partner = torch.randperm(len(images), generator=generator, device=device)
        drawn = torch.rand(3, generator=generator, device=device, dtype=images.dtype)
        share = drawn[0]
        if self.augmentation == "mixup":
            other = share * images + (1 - share) * images[partner]
        elif self.augmentation == "cutmix":
            box = _box(images, drawn[1:], (1 - share).sqrt())
            other, share = torch.where(box, images[partner], images), 1 - box.to(images.dtype).mean()
        else:
            box = _box(images, drawn[1:], torch.full_like(share, 0.5))
            other, share = images.masked_fill(box, 0), torch.ones_like(share)
        extra = {**batch.extra, "partner": partner, "share": share}
        return batch._replace(inputs=torch.cat([images, other]), extra=extra)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        target = torch.lerp(batch.teacher["logits"].detach(), batch.teacher["pruned"].detach(), self.share)
        count = len(target)
        terms = dict(self._terms(student["logits"][:count], target, ""))
        if "partner" in batch.extra:
            mixed = torch.lerp(target[batch.extra["partner"]], target, batch.extra["share"].to(target.dtype))
            terms |= self._terms(student["logits"][count:], mixed, "_augmented")
        return terms

    def _terms(self, ours: Tensor, target: Tensor, suffix: str) -> Iterator[tuple[str, Tensor]]:
        p, q = (ours / self.temperature).softmax(1), (target / self.temperature).softmax(1)
        alike = correlation(p, q, 0, centred=False).mean() + correlation(p, q, 1, centred=False).mean()
        yield f"value{suffix}", self.weight_value * self.temperature**2 * (2 - alike)
        if self.weight_rank:
            yield f"rank{suffix}", self.weight_rank * (1 - soft_spearman(ours, target, self.rank_temperature).mean())


def _box(images: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """(H, W) bool: a box of `side` times the images' sides about `centre` (2,), both in 0 … 1, clipped at the borders."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) + 0.5) / height - centre[0]
    columns = (torch.arange(width, device=images.device) + 0.5) / width - centre[1]
    return (rows.abs() < side / 2)[:, None] & (columns.abs() < side / 2)

"""`mixkd`: MixKD, distillation on mixed inputs (arXiv 2011.00593, 2021 [abs]); here on pixels, where the paper mixes embeddings of text.

Which inputs are mixed, and how, is drawn before the teacher is called, and every mixed input is one more call: a budget of n calls is
spent half on clean samples, half on mixed inputs, and each figure of this method stands beside others of the same n.
Loss: CE(clean) + w_mixup · CE(s(x̃), λ·y_i + (1 − λ)·y_j) + w_teacher · [KD_T(s(x) ‖ t(x)) + KD_T(s(x̃) ‖ t(x̃))], with t(x̃) as paid.
A batch of B is B clean samples and as many mixed ones, drawn among those that were bought.

Ours [ours]: KD_T as the matching loss and the weights, which the abstract does not give. Mixed images are seen as they were paid for,
not cropped or flipped. Ablation with no further call: `mix-cached`.
"""

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.losses.divergence import kd
from tuition.losses.mixing import all_known, mixed_labels, soft_cross_entropy
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive


class MixKD(nn.Module):
    source, evidence = "arXiv 2011.00593", "abs"
    signals: tuple[str, ...] = ("logits",)
    inputs = ("images",)
    views = "mixed"
    calls = 1.0
    label_use = "used"
    images: Tensor  # (m, C, H, W) uint8, logits (m, C) and mixed labels (m, C) of what was bought
    logits: Tensor
    mixed: Tensor
    known: Tensor  # (m,) bool: whether both of its samples have a label

    def __init__(
        self, *, temperature: Positive = 4.0, weight_mixup: NotNegative = 1.0, weight_teacher: NotNegative = 1.0
    ):
        super().__init__()
        self.temperature, self.weight_mixup, self.weight_teacher = temperature, weight_mixup, weight_teacher

    def setup(self, context: Context) -> None:
        if not context.mixed or not len(context.mixed["lam"]):
            raise UserError("mixkd: found no mixed inputs among what was bought; set `teach.mixed: true`")
        first, second, lam = (context.mixed[name] for name in ("first", "second", "lam"))
        rows = torch.stack([first, second], dim=1).long()
        labels = mixed_labels(
            context.labels,
            rows,
            torch.stack([lam, 1 - lam], dim=1).float(),
            context.classes,
        )
        self.normalise = context.normalise
        for name, value in {
            "images": context.mixed["inputs"],
            "logits": context.mixed["logits"],
            "mixed": labels,
            "known": all_known(context.labels, rows),
        }.items():
            self.register_buffer(name, value, persistent=False)  # bought: a checkpoint need not hold it

    def augment(self, batch: Batch) -> Batch:
        bought, generator = len(self.images), batch.generator
        drawn = torch.randperm(bought, generator=generator, device=generator.device)[: len(batch.labels)]
        more = self.normalise(self.images[drawn]).to(batch.inputs.dtype)
        return batch._replace(inputs=torch.cat([batch.inputs, more]), extra={"drawn": drawn})

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        drawn, count = batch.extra["drawn"], len(batch.labels)
        clean, mixed = student["logits"][:count], student["logits"][count:]
        paid = self.logits[drawn].to(mixed.dtype)
        return {
            "mixup": self.weight_mixup * soft_cross_entropy(mixed, self.mixed[drawn], self.known[drawn]),
            "teacher": self.weight_teacher * kd(clean, batch.teacher["logits"], self.temperature),
            "mixed": self.weight_teacher * kd(mixed, paid, self.temperature),
        }

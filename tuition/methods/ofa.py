"""`ofa`: One-for-All distillation between unlike architectures (arXiv 2310.19444, NeurIPS 2023 [code]).

Every stage of the student has an exit: a depthwise-separable 3×3 convolution of stride 2 to the embedding's width,
global average pooling and a linear classifier. Loss: CE + weight · Σ over exits and the student's own logits of
−mean Σ_c [(p^t_c + 1_{c=y})^ε − 1_{c=y}] · log p^s_c, with softmax at `temperature`; ε > 1 enlarges the target class
where the teacher is sure. ε = 1, the release's for CIFAR-100, is cross-entropy with the teacher's soft labels; for
ImageNet it is 1.5.
Ours differs: one convolution an exit, where the release stacks as many as there are stages below [ours]; one ε for all
exits.
Of a sample without a label the target is the teacher's soft labels, as at ε = 1 [ours].
The exits are trained with the student and thrown away. The least loss is not 0: it is at p^s ∝ the bracket.
"""

import torch
from torch import Tensor, nn

from tuition.losses.labelled import is_known, one_hot
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative, Positive


class OFA(nn.Module):
    source, evidence = "arXiv 2310.19444, eq. 7", "code"
    signals: tuple[str, ...] = ("logits",)
    maps = True
    label_use = "used"

    def __init__(self, *, weight: NotNegative = 1.0, eps: Positive = 1.0, temperature: Positive = 1.0):
        super().__init__()
        self.weight, self.eps, self.temperature = weight, eps, temperature
        self.exits = nn.ModuleDict()

    def setup(self, context: Context) -> None:
        wide = context.student["embedding"][0]
        self.exits = nn.ModuleDict(
            {
                name: _exit(shape[0], wide, context.classes)
                for name, shape in context.student.items()
                if name.startswith("map")
            }
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        correct = one_hot(batch.labels, student["logits"].shape[1])
        soft = (batch.teacher["logits"].detach() / self.temperature).softmax(1)
        target = (soft + correct) ** self.eps - correct
        target = torch.where(is_known(batch.labels)[:, None], target, soft)
        given = {"logits": student["logits"]} | {name: head(student[name]) for name, head in self.exits.items()}
        return {f"exit_{name}": self.weight * self._loss(value.to(soft.dtype), target) for name, value in given.items()}

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return -(target * (logits / self.temperature).log_softmax(1)).sum(1).mean()


def _exit(width: int, wide: int, classes: int) -> nn.Sequential:
    """A classifier on maps (B, width, h, w)."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width, bias=False),
        nn.Conv2d(width, wide, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(wide, classes),
    )

"""`pkt-h`: information-flow distillation through an auxiliary network (Passalis et al. 2020, arXiv 2005.00727 [code]).

Two stages. In the first `share` of the steps an auxiliary network learns: the student's shape, twice as wide; give its architecture as
`auxiliary`. It learns the teacher's embedding and the labels; the student gets no gradient. Then the auxiliary stays as it is, and the
student learns layer by layer from its stages (their global averages, and its embedding in place of the last) and from the labels. The
early layers weigh 100 · 0.7^epoch, epochs from the beginning of the second stage, the last layer 1.

J(a, b) compares samples of the batch: rows p_i of a similarity, (1 + cos)/2 or 1/(1 + ‖·‖), divided by their sum, the own entry
included; J = Σ over both of mean_i Σ_j (p^a_ij − p^b_ij)(log p^a_ij − log p^b_ij) (Jeffreys).
    first stage:   weight · J(auxiliary's embedding, teacher's) + CE(auxiliary)
    then:          weight · [Σ_early 100 · 0.7^epoch · J(student's layer, auxiliary's) + J(embeddings)] + CE(student)

Differs from the released code [ours]: the sum over j for the mean, which would shrink with the batch; cross-entropy beside it, which
trains a classifier as well (the paper's students are judged by retrieval); both stages in one training of fixed length, sharing its
learning rates; an auxiliary that starts fresh.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.labelled import cross_entropy
from tuition.losses.layers import initial_steps, paired
from tuition.losses.relations import distances, full_precision
from tuition.methods.protocol import Batch, Context
from tuition.models import signals
from tuition.ranges import NotNegative
from tuition.signals import arrays_of

EARLY, DECAY = 100.0, 0.7  # weight of the early layers at first, and what an epoch makes of it
LEAST = 1e-7  # of a similarity: opposite samples have cosine −1, and a logarithm is taken


class PKTH(nn.Module):
    source, evidence = "arXiv 2005.00727", "code"
    signals: tuple[str, ...] = ("embedding",)
    maps = True
    weight_ce = 0.0
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 1.0, share: NotNegative = 0.4, auxiliary: str = "resnet8x2"):
        super().__init__()
        self.weight, self.share, self.arch = weight, share, auxiliary
        initial_steps("pkt-h", share, 0)  # refuses a wrong share before anything is built

    def setup(self, context: Context) -> None:
        self.first, self.per_epoch = initial_steps("pkt-h", self.share, context.steps), context.per_epoch
        self.auxiliary = context.make_student(self.arch)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        if batch.step < self.first:
            ours = self.look(batch.inputs, student["logits"])
            divergence = jeffreys(ours["embedding"], batch.teacher["embedding"])
            return self.terms(divergence, ours["logits"], batch.labels)
        self.auxiliary.eval()  # the loop puts all that trains in training mode; this no longer trains
        with torch.no_grad():
            theirs = self.look(batch.inputs, student["logits"])
        count = len(batch.labels)
        divergence = jeffreys(student["embedding"][:count], theirs["embedding"])
        early = EARLY * DECAY ** ((batch.step - self.first) // self.per_epoch)
        for mine, other in paired(student, arrays_of("map", theirs))[:-1]:
            pooled = student[mine][:count].mean((2, 3)), theirs[other].mean((2, 3))
            divergence = divergence + early * jeffreys(*pooled)
        return self.terms(divergence, student["logits"][:count], batch.labels)

    def look(self, images: Tensor, like: Tensor) -> dict[str, Tensor]:
        """What the auxiliary says of images, in the type of `like`."""
        return {name: value.to(like.dtype) for name, value in signals(self.auxiliary, images, maps=True).items()}

    def terms(self, divergence: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"teacher": self.weight * divergence, "labels": cross_entropy(logits, labels)}


def jeffreys(student: Tensor, teacher: Tensor) -> Tensor:
    """J of features (B, d) and (B, d'), the second constant."""
    with full_precision(student):
        both = zip(neighbours(student), neighbours(teacher.detach()), strict=True)
        return torch.stack([((p - q) * (p.log() - q.log())).sum(1).mean() for p, q in both]).sum()


def neighbours(x: Tensor) -> list[Tensor]:
    """(B, d) -> chances (B, B) of being a neighbour, by the cosine and by the distance; rows sum to one."""
    unit = F.normalize(x, dim=1)
    kernels = ((1 + unit @ unit.T).clamp(min=LEAST), 1 / (1 + distances(x)))
    return [kernel / kernel.sum(1, keepdim=True) for kernel in kernels]

"""`crd`: Contrastive Representation Distillation (arXiv 1910.10699, ICLR 2020 [code]).

u = norm(W_s f^s), v = norm(W_t f^t) in R^dimensions, both heads trained; memories M^s, M^t hold one u and one v a
bought sample, updated after each step to norm(momentum · old + (1 − momentum) · new). Noise-contrastive estimation, n
samples, m negatives an anchor: h(a, b) = a·b / τ − log Z − log(m / n);  L(a, M) = mean_i [softplus(−h(a_i, M_i)) +
Σ_negatives softplus(h(a_i, M_j))];
Loss: CE + weight · [L(u, M^t) + L(v, M^s)]. Z is n times the mean of exp(a·b / τ) in the first batch, one for each
memory, then constant.
Negatives are samples of other classes, as released; a sample without a label is a class of its own [ours]. `on`: the
penultimate `embedding`, or `logits`, as in the baseline of arXiv 2311.02253.
Where ours differs [ours]:
- one set of `negatives` (K) rows, drawn with replacement, serves all anchors of a batch, so a step is a (B, K) matrix
  product and not B·K gathered vectors. A row of an anchor's own class, itself too, is left out for that anchor: m is
  what remains, near K · (1 − 1 / classes);
- where K ≥ n every row stands in the sum with the number of times it was drawn: the same sum at the cost of n;
- softplus is −log D in closed form, so the release's ε = 1e-7 inside the logarithms is not needed.
Known property: the sums over negatives make the size of the loss, and so what its weight means, depend on K and n.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch, Context
from tuition.ranges import Count, NotNegative, Positive


class CRD(nn.Module):
    source, evidence = "arXiv 1910.10699, eq. 17-19", "code"
    signals: tuple[str, ...] = ("embedding",)  # an instance's own follow its setting `on`
    label_use = "needed"
    memory_student: Tensor
    memory_teacher: Tensor
    log_z: Tensor
    classes: Tensor

    def __init__(
        self,
        *,
        weight: NotNegative = 0.8,
        negatives: int = 16384,
        temperature: Positive = 0.07,
        momentum: NotNegative = 0.5,
        dimensions: Count = 128,
        on: Literal["embedding", "logits"] = "embedding",
    ):
        super().__init__()
        if negatives < 1:
            raise UserError(f"params.yaml: methods.crd.negatives: found {negatives}, expected at least 1")
        if momentum > 1:
            raise UserError(f"params.yaml: methods.crd.momentum: found {momentum}, expected 0 to 1")
        self.weight, self.negatives, self.temperature, self.momentum = weight, negatives, temperature, momentum
        self.dimensions, self.on = dimensions, on
        self.signals = (on,)

    def setup(self, context: Context) -> None:
        count, device = len(context.labels), context.labels.device
        self.head = nn.Linear(context.student[self.on][0], self.dimensions)
        self.teacher_head = nn.Linear(context.teacher[self.on].shape[1], self.dimensions)
        generator = torch.Generator().manual_seed(context.seed)
        reach = (3 / self.dimensions) ** 0.5
        for name in ("memory_student", "memory_teacher"):
            memory = (2 * torch.rand(count, self.dimensions, generator=generator) - 1) * reach
            self.register_buffer(name, memory.to(device))
        self.register_buffer("log_z", torch.full((2,), float(count), device=device).log())
        # Without a label a sample is a class of its own: all others are its negatives.
        alone = context.classes + torch.arange(count, device=device)
        self.register_buffer("classes", torch.where(context.labels < 0, alone, context.labels), persistent=False)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student[self.on]):
            ours = F.normalize(self.head(student[self.on]), dim=1)
            theirs = F.normalize(self.teacher_head(batch.teacher[self.on].detach()), dim=1)
            rows, times = self._draw(batch.generator)
            own = torch.where(batch.labels < 0, self.classes[batch.rows], batch.labels)
            counted = (own[:, None] != self.classes[rows]) * times
            terms = {
                "student": self.weight * self._loss(0, ours, self.memory_teacher, rows, counted, batch),
                "teacher": self.weight * self._loss(1, theirs, self.memory_student, rows, counted, batch),
            }
            self._remember(self.memory_student, batch.rows, ours)
            self._remember(self.memory_teacher, batch.rows, theirs)
            return terms

    def _draw(self, generator: torch.Generator) -> tuple[Tensor | slice, Tensor]:
        """The batch's negatives: rows of the memories, and how often each was drawn (R,)."""
        count, device = len(self.classes), self.classes.device
        drawn = torch.randint(count, (self.negatives,), generator=generator, device=device)
        kind = self.memory_student.dtype
        if self.negatives < count:
            return drawn, torch.ones(1, device=device, dtype=kind)
        once = torch.ones(1, device=device, dtype=kind).expand(self.negatives)
        return slice(None), torch.zeros(count, device=device, dtype=kind).index_add_(0, drawn, once)

    def _loss(
        self, which: int, anchors: Tensor, memory: Tensor, rows: Tensor | slice, counted: Tensor, batch: Batch
    ) -> Tensor:
        """L(anchors, memory) (see above), `counted` (B, R) being how often each row is a negative of each anchor."""
        scaled, many = anchors / self.temperature, counted.sum(1)
        positive = (scaled * memory[batch.rows]).sum(1)
        others = memory[rows]
        # The memory changes in place after this, before the gradient is taken, so a view of it will not do.
        negative = scaled @ (others if isinstance(rows, Tensor) else others.clone()).T
        if batch.step == 0:
            self._fix_z(which, positive.detach(), negative.detach(), counted)
        shift = self.log_z[which] + (many.clamp(min=1) / len(memory)).log()
        against = -(counted * F.logsigmoid(shift[:, None] - negative)).sum()
        return (against - F.logsigmoid(positive - shift).sum()) / len(anchors)

    def _fix_z(self, which: int, positive: Tensor, negative: Tensor, counted: Tensor) -> None:
        total = positive.exp().sum() + (counted * negative.exp()).sum()
        self.log_z[which] = (total / (len(positive) + counted.sum()) * len(self.classes)).log()

    @torch.no_grad()
    def _remember(self, memory: Tensor, index: Tensor, new: Tensor) -> None:
        memory.index_copy_(0, index, F.normalize(torch.lerp(new, memory[index], self.momentum), dim=1))

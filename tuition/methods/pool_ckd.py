"""`pool-ckd`: comparative distillation of a whole pool, of which a few samples were bought and the rest is estimated [ours].

A step sees B bought samples, with the teacher's logits, and R others, with what is estimated of the teacher (or a label) and how sure
that is. Each has a target p_i and a weight w_i, 1 where it was bought:

loss = (1 / (B + R)) Σ_i w_i · CE(z^s_i, p_i) + weight_relation · mean over pairs of (1 / C) ‖(s_i − s_j) − (t_i − t_j)‖²

with s the student's logits and t the teacher's, or the logarithm of the estimate, each without its mean over the classes. The pairs
are those of a bought and an estimated sample (`pairs: cross`), of estimated ones (`estimated`) or `all`: a difference of two estimates
takes out what is wrong with both alike, as a regression's shrinkage toward its mean; one of a bought and an estimated sample holds the
level of the others to what was paid for. Over pairs the sums have a closed form, O((B + R) · C), as for `ckd-mse`. A sample of which a
label is known has no part in comparisons. `mix` > 0: the student sees mixed inputs λ·x_i + (1 − λ)·x_j, λ ~ Beta(mix, mix) a
sample, of all B + R, and targets mixed alike.

Without the rest (`rest: none`) it is distillation at temperature 1 with comparisons among bought samples.
Nearest published: CKD (arXiv 2311.02253) compares bought samples alone; ZeroMatch (2502.12584) trains on a large model's pseudo-labels of a
pool, ActiveKD (2506.00910) on a vision-language teacher's: neither has comparisons, nor a cap on calls.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses import labelled
from tuition.losses.mixing import draw_rows, draw_shares, mix
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative

LEAST = 1e-4  # of an estimated probability, before its logarithm


class Rows(NamedTuple):
    """All rows of a step: target (n, C) probabilities, weight (n,), `compared` (n, C) centred logits or their estimate, `known` (n,) bool,
    whether the row has a part in comparisons; the first `bought` of them were bought."""

    target: Tensor
    weight: Tensor
    compared: Tensor
    known: Tensor
    bought: int


class PoolCKD(nn.Module):
    source, evidence = "this project", "ours"
    signals: tuple[str, ...] = ("logits",)
    label_use = "none"
    weight_ce = 0.0
    rest_use = "read"

    def __init__(
        self,
        *,
        weight_relation: NotNegative = 1.0,
        pairs: Literal["cross", "estimated", "all"] = "all",
        confidence: bool = True,
        mix: NotNegative = 0.0,
    ):
        super().__init__()
        self.weight_relation, self.pairs, self.confidence, self.mix = weight_relation, pairs, confidence, mix

    def augment(self, batch: Batch) -> Batch:
        """The batch with mixed inputs in the place of its own, and of the rest's; `extra` says which were mixed."""
        if not self.mix:
            return batch
        own = len(batch.labels)
        inputs = batch.inputs if batch.rest is None else torch.cat([batch.inputs, batch.rest.inputs])
        rows = draw_rows(len(inputs), 2, batch.generator)
        shares = draw_shares(len(rows), 2, self.mix, batch.generator)
        mixed = mix(inputs, rows, shares)
        rest = None if batch.rest is None else batch.rest._replace(inputs=mixed[own:])
        return batch._replace(inputs=mixed[:own], rest=rest, extra={"rows": rows, "shares": shares})

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        ours = student["logits"] if batch.rest is None else torch.cat([student["logits"], student["rest"]])
        rows = self._rows(batch)
        each = -(rows.target * F.log_softmax(ours, dim=1)).sum(1)
        terms = {"teacher": (rows.weight * each).mean()}
        if self.weight_relation:
            gap = ours - ours.mean(1, keepdim=True) - rows.compared
            terms["relation"] = self.weight_relation * self._relation(gap, rows)
        return terms

    def _rows(self, batch: Batch) -> Rows:
        logits = batch.teacher["logits"].detach()
        target, compared, weight = logits.softmax(1), logits, logits.new_ones(len(logits))
        known = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        if (rest := batch.rest) is not None:
            target = torch.cat([target, rest.target])
            compared = torch.cat([compared, rest.target.clamp(min=LEAST).log()])
            weight = torch.cat([weight, rest.weight if self.confidence else torch.ones_like(rest.weight)])
            known = torch.cat([known, ~labelled.is_known(rest.labels)])
        compared = compared - compared.mean(1, keepdim=True)
        if "rows" in batch.extra:
            made_of, shares = batch.extra["rows"], batch.extra["shares"]
            target, compared, weight = (mix(one, made_of, shares) for one in (target, compared, weight))
            known = known[made_of].all(1)
        return Rows(target, weight, compared, known, len(logits))

    def _relation(self, gap: Tensor, rows: Rows) -> Tensor:
        """The mean over pairs and classes of (d_i − d_j)², of gaps d (n, C)."""
        bought, rest = rows.known.clone(), rows.known.clone()
        bought[rows.bought :], rest[: rows.bought] = False, False
        if self.pairs == "cross" and len(gap) > rows.bought:
            return _between(gap, bought, rest)
        return _among(gap, rest if self.pairs == "estimated" and len(gap) > rows.bought else rows.known)


def _mean(values: Tensor, among: Tensor) -> Tensor:
    """The mean (C,) of values (n, C) over the rows that are `among` (n,); zeros where there are none."""
    return torch.where(among[:, None], values, 0.0).sum(0) / among.sum().clamp(min=1)


def _among(gap: Tensor, among: Tensor) -> Tensor:
    """Mean over all pairs of two of these rows: 2 n / (n − 1) times their variance, summed over rows and divided by n."""
    count = among.sum().to(gap.dtype)
    spread = _mean((gap - _mean(gap, among)).square(), among).mean()
    return 2 * count / (count - 1).clamp(min=1) * spread


def _between(gap: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Mean over all pairs of a row of `one` and a row of `other`."""
    first, second = _mean(gap, one), _mean(gap, other)
    both = _mean(gap.square(), one) + _mean(gap.square(), other) - 2 * first * second
    return torch.where(one.any() & other.any(), both.mean(), 0.0)

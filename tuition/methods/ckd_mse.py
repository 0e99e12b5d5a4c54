"""`ckd-mse`: Comparative Knowledge Distillation, squared differences (arXiv 2311.02253, WACV 2025; the 2025 release [code]).

Loss: w_labels · D(Δs, Δy) + w_relation · D(Δs, Δt) [+ anchor · MSE(mean_B s, mean_B t)] on raw logits, Δ = Σ w·z over a group's
members with Σ w = 0; as released k = 2 and D is the mean squared error over groups and classes.

`distance`: `mse`. With in-batch comparisons it is the mean over *all* groups of the batch, exact in O(B·C) [ours], where it equals
mean-centred logit regression. The others [ours] take the listed groups, in-batch a few a sample: `cosine` 1 − cos(Δs, Δt),
`smooth-l1` (Huber, threshold 1), `normalised` MSE of Δ/‖Δ‖. A Δ of zero, as labels of one class give it, has no direction: there
`cosine` and `normalised` are constant and teach nothing.
`labels`: `difference` D(Δs, Δy) of one-hot labels, as released; `ce` plain cross-entropy, as in the paper's text; `none`.
`combine`: `difference`; or, of pairs, the 2023 release's ablations `add` (a + b) / 2 and `interpolate` λa + (1 − λ)b with one
λ ~ Beta(1, 1) a batch, for students, teachers and labels alike.
`passes`: `apart`, as released: of listed groups positives and negatives go through the student one after the other, each with batch
statistics of their own; `together` in one pass. Samples of in-batch comparisons are both, and go together.

Known defect [ours]: a loss on differences alone leaves one common offset of the logits unidentified, though it moves the argmax.
`anchor` is the weight of a term that ties the batch's mean logits to the teacher's [ours]; `labels: ce` ties them too. Evaluation
shows what another remedy gives, taking the mean offset to the teacher away after training (`top1_recentred`).
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.comparisons import (
    Combine,
    Groups,
    Labels,
    Passes,
    among_known,
    combined,
    difference,
    difference_mse,
    labels_term,
    offset,
)
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative

EPS = 1e-6  # differences shorter than this have no direction


class CKDMSE(nn.Module):
    source, evidence = "arXiv 2311.02253", "code"
    signals: tuple[str, ...] = ("logits",)
    compares = True
    weight_ce = 0.0
    label_use = "used"

    def __init__(
        self,
        *,
        labels: Labels = "difference",
        weight_labels: NotNegative = 1.0,
        weight_relation: NotNegative = 1.0,
        distance: Literal["mse", "cosine", "smooth-l1", "normalised"] = "mse",
        combine: Combine = "difference",
        anchor: NotNegative = 0.0,
        passes: Passes = "apart",
    ):
        super().__init__()
        self.labels, self.weight_labels, self.weight_relation = labels, weight_labels, weight_relation
        self.distance, self.combine, self.anchor, self.passes = distance, combine, anchor, passes

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        assert batch.groups is not None
        logits, teacher, labels = student["logits"], batch.teacher["logits"].detach(), batch.labels
        groups = combined(batch.groups, self.combine, batch.generator)
        terms = {"relation": self.weight_relation * self._apart(logits, teacher, groups)}
        terms |= labels_term(
            self.labels,
            logits,
            labels,
            self.weight_labels,
            lambda target, known: self._apart(logits, target, groups, known),
        )
        if self.anchor:
            terms["anchor"] = self.anchor * offset(logits, teacher)
        return terms

    def _apart(self, student: Tensor, target: Tensor, groups: Groups, known: Tensor | None = None) -> Tensor:
        if self.distance == "mse":
            return difference_mse(student, target, groups, known)
        ours = difference(student, groups)
        theirs, share = among_known(ours, difference(target, groups), groups, known)
        if self.distance == "smooth-l1":
            return F.smooth_l1_loss(ours, theirs) * share
        ours, theirs = F.normalize(ours, dim=1, eps=EPS), F.normalize(theirs, dim=1, eps=EPS)
        loss = F.mse_loss(ours, theirs) if self.distance == "normalised" else 1 - (ours * theirs).sum(1).mean()
        return loss * share

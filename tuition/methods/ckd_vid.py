"""`ckd-vid`: white-box Comparative Knowledge Distillation with VID (arXiv 2311.02253, WACV 2025; the 2025 release [code]).

Loss: w_labels · labels term + w_relation · MSE(Δs, Δt) on logits, as `ckd-mse`, + w_features · Σ_layers mean ½[(Δμ(F^s) − ΔF^t)²/σ² +
log σ²], as `vid`: mean over groups, channels and positions, w_features = 1.
Ours: each sample's map first goes through the regressor (three 1×1 convolutions with ReLU, at the smaller size), then the group's
difference is taken. In-batch comparisons take the closed form over all groups of the batch: the loss is quadratic in the gap.
`passes`: `apart`, as released: of listed groups positives and negatives go through the student one after the other, each with batch
statistics of their own; `together` in one pass. Samples of in-batch comparisons are both, and go together.
"""

from torch import Tensor, nn

from tuition.losses.comparisons import Labels, Passes, squared_terms
from tuition.losses.features import Variational
from tuition.losses.layers import paired
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative


class CKDVID(nn.Module):
    source, evidence = "arXiv 2311.02253", "code"
    signals: tuple[str, ...] = ("logits", "map")
    compares = True
    maps = True
    one_place = True
    weight_ce = 0.0
    label_use = "used"

    def __init__(
        self,
        *,
        labels: Labels = "difference",
        weight_labels: NotNegative = 1.0,
        weight_relation: NotNegative = 1.0,
        weight_features: NotNegative = 1.0,
        passes: Passes = "apart",
    ):
        super().__init__()
        self.passes = passes
        self.labels, self.weight_labels, self.weight_relation = labels, weight_labels, weight_relation
        self.weight_features = weight_features

    def setup(self, context: Context) -> None:
        self.pairs = paired(context.student, context.teacher)
        self.layers = nn.ModuleList(
            Variational(context.student[ours][0], context.teacher[theirs].shape[1]) for ours, theirs in self.pairs
        )

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        terms = squared_terms(
            student["logits"],
            batch.teacher["logits"],
            batch.labels,
            batch.groups,
            kind=self.labels,
            weight_labels=self.weight_labels,
            weight_relation=self.weight_relation,
        )
        loss = student["logits"].new_zeros(())
        for layer, (ours, theirs) in zip(self.layers, self.pairs, strict=True):
            loss = loss + layer(student[ours], batch.teacher[theirs], batch.groups)
        return terms | {"features": self.weight_features * loss}

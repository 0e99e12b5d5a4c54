"""`ckd-fitnet`: white-box Comparative Knowledge Distillation with FitNet (arXiv 2311.02253, WACV 2025; the 2025 release [code]).

Loss: w_labels · labels term + w_relation · MSE(Δs, Δt) on logits, as `ckd-mse`, + w_features · MSE(ΔF^s, ΔF^t) on one pair of maps, as
`fitnet`: mean over groups, channels and positions, w_features = 100. `layer` counts the paired stages from 1.
Ours: each sample's map first goes through the head (a 1×1 convolution and batch norm, at the smaller size), then the group's difference
is taken; for a convolution without bias alone the order would not matter, and batch norm's shift cancels in the difference.
In-batch comparisons take the closed form over all groups of the batch, no larger than the maps themselves.
`passes`: `apart`, as released: of listed groups positives and negatives go through the student one after the other, each with batch
statistics of their own; `together` in one pass. Samples of in-batch comparisons are both, and go together.
"""

from torch import Tensor, nn

from tuition.losses.comparisons import Labels, Passes, squared_terms
from tuition.losses.features import Hint
from tuition.losses.layers import chosen, paired
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative


class CKDFitNet(nn.Module):
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
        weight_features: NotNegative = 100.0,
        layer: int = 2,
        passes: Passes = "apart",
    ):
        super().__init__()
        self.passes = passes
        self.labels, self.weight_labels, self.weight_relation = labels, weight_labels, weight_relation
        self.weight_features, self.layer = weight_features, layer

    def setup(self, context: Context) -> None:
        self.ours, self.theirs = chosen("ckd-fitnet", self.layer, paired(context.student, context.teacher))
        self.hint = Hint(context.student[self.ours][0], context.teacher[self.theirs].shape[1])

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
        features = self.hint(student[self.ours], batch.teacher[self.theirs], batch.groups)
        return terms | {"features": self.weight_features * features}

"""`ckd-cc`: white-box Comparative Knowledge Distillation with CC (arXiv 2311.02253, WACV 2025; the 2025 release [code]).

Loss: w_labels · labels term + w_relation · MSE(Δs, Δt) on logits, as `ckd-mse`, + w_features · mean over neighbouring groups g of
Σ_d |D_g|·|D_{g+1}|, as `cc`: D = (W_s Δf^s + b_s) − (W_t Δf^t + b_t) in R¹²⁸, linear heads of the *differences* of embeddings, both
trained, w_features = 0.02. So the biases stay, and the loss can fall by them alone.
It has no closed form: in-batch comparisons are the listed ones, a few a sample.
Known defects, as in `cc`: it depends on the order of the groups, and heads that shrink make it zero.
`passes`: `apart`, as released: of listed groups positives and negatives go through the student one after the other, each with batch
statistics of their own; `together` in one pass. Samples of in-batch comparisons are both, and go together.
"""

from torch import Tensor, nn

from tuition.losses.comparisons import Labels, Passes, difference, squared_terms
from tuition.losses.relations import full_precision
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative

WIDTH = 128


class CKDCC(nn.Module):
    source, evidence = "arXiv 2311.02253", "code"
    signals: tuple[str, ...] = ("logits", "embedding")
    compares = True
    weight_ce = 0.0
    label_use = "used"

    def __init__(
        self,
        *,
        labels: Labels = "difference",
        weight_labels: NotNegative = 1.0,
        weight_relation: NotNegative = 1.0,
        weight_features: NotNegative = 0.02,
        passes: Passes = "apart",
    ):
        super().__init__()
        self.passes = passes
        self.labels, self.weight_labels, self.weight_relation = labels, weight_labels, weight_relation
        self.weight_features = weight_features

    def setup(self, context: Context) -> None:
        self.head = nn.Linear(context.student["embedding"][0], WIDTH)
        self.teacher_head = nn.Linear(context.teacher["embedding"].shape[1], WIDTH)

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        assert batch.groups is not None
        terms = squared_terms(
            student["logits"],
            batch.teacher["logits"],
            batch.labels,
            batch.groups,
            kind=self.labels,
            weight_labels=self.weight_labels,
            weight_relation=self.weight_relation,
        )
        with full_precision(student["embedding"]):
            ours = difference(student["embedding"], batch.groups)
            theirs = difference(batch.teacher["embedding"].detach(), batch.groups)
            gap = self.head(ours) - self.teacher_head(theirs)
            features = (gap[:-1] * gap[1:]).abs().sum() / max(1, len(gap) - 1)
        return terms | {"features": self.weight_features * features}

"""`sp`: Similarity-Preserving Knowledge Distillation (arXiv 1907.09682, ICCV 2019 [code]).

Loss: CE + weight · ‖G^s − G^t‖² / B², G = f fᵀ with each row divided by its length, f the penultimate embeddings (the
paper's are flattened maps; the embedding is their average). Embeddings may differ in width. The weight, 3000, belongs
to the mean over B² at B = 64: it means less in a larger batch, as a row's entries shrink with its length.
"""

from torch import Tensor, nn

from tuition.losses.relations import full_precision, gram_rows
from tuition.methods.protocol import Batch
from tuition.ranges import NotNegative


class SP(nn.Module):
    source, evidence = "arXiv 1907.09682, eq. 4", "code"
    signals: tuple[str, ...] = ("embedding",)
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 3000.0):
        super().__init__()
        self.weight = weight

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        with full_precision(student["embedding"]):
            gap = gram_rows(student["embedding"]) - gram_rows(batch.teacher["embedding"].detach())
            return {"teacher": self.weight * gap.square().mean()}

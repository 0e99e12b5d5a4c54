"""`embed-match`: the teacher's geometry of queries, documents and their scores (after arXiv 2301.12005 [abs]).

Loss: weight_query · mean ‖P e^s − e^t‖₂ over queries + weight_document · the same over documents + weight_score · mean (s − t)² over all
pairs of a query and a document of the batch, s and t their cosines. P is a linear layer where the widths differ, and is not deployed; what
it gives is of length 1 again. It reads no judgement.
`comparisons`: the differences between two queries, and between two documents, are held against the teacher's too (CKD, arXiv 2311.02253):
mean over pairs of ‖(P e^s_i − P e^s_j) − (e^t_i − e^t_j)‖², with weight_comparisons.
Ours differs [ours]: all embeddings are of length 1, and scores are matched by their squares.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.retrieval import comparisons, distance, projection
from tuition.methods.retrieval import RetrievalBatch, RetrievalContext
from tuition.ranges import NotNegative


class EmbedMatch(nn.Module):
    task = "retrieval"
    source, evidence = "arXiv 2301.12005", "abs"
    signals: tuple[str, ...] = ("embedding",)
    weight_ce = 0.0
    label_use = "none"
    inputs = ("texts",)
    documents, queries = "own", "given"

    def __init__(
        self,
        *,
        weight_query: NotNegative = 1.0,
        weight_document: NotNegative = 1.0,
        weight_score: NotNegative = 1.0,
        comparisons: bool = False,
        weight_comparisons: NotNegative = 1.0,
    ):
        super().__init__()
        self.weights = {"query": weight_query, "document": weight_document}
        self.weight_score, self.weight_comparisons = weight_score, weight_comparisons if comparisons else 0.0
        self.project: nn.Module = nn.Identity()

    def setup(self, context: RetrievalContext) -> None:
        self.project = projection(context.width, context.teacher_width)

    def forward(self, student: dict[str, Tensor], batch: RetrievalBatch) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for side, weight in self.weights.items():
            ours = F.normalize(self.project(student[side]), dim=1)
            terms[side] = weight * distance(ours, batch.teacher[side])
            if self.weight_comparisons:
                terms[f"{side}_comparisons"] = self.weight_comparisons * comparisons(ours, batch.teacher[side])
        scores = student["query"] @ student["document"].T
        terms["scores"] = self.weight_score * F.mse_loss(scores, batch.scores)
        return terms

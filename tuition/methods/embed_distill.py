"""`embed-distill`: EmbedDistill, from a teacher's embeddings to a small query encoder, step by step (arXiv 2301.12005 [abs]).

Loss: weight_label · contrastive loss on what is relevant + weight_score · CE(softmax(t / τ), softmax(s / τ)) over the documents of the
batch + weight_query · mean ‖P e^s − e^t‖₂ over queries. s and t are the cosines of query and document, the student's and the teacher's, τ
is `temperature`. With `documents: teacher` documents are the teacher's own embeddings, bought and frozen, and the student learns queries
alone; it is then as wide as the teacher. With `queries: given` it learns scores and matching from training queries of which no relevant
document is known, too. P is a linear layer where the widths differ, and is not deployed.

The paper's ladder, as settings:

    direct                 {weight_score: 0, weight_query: 0, documents: own}    reads nothing of the teacher's
    + score                {weight_query: 0, documents: own}
    + frozen documents     {weight_query: 0}
    + query matching       {}
    + further queries      {queries: given}

Ours differs [ours]: the weights, which the paper does not give; all embeddings are of length 1; documents of the batch stand for all.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.retrieval import contrastive, distance, listwise, projection
from tuition.methods.retrieval import TEMPERATURE, RetrievalBatch, RetrievalContext
from tuition.ranges import NotNegative, Positive


class EmbedDistill(nn.Module):
    task = "retrieval"
    source, evidence = "arXiv 2301.12005", "abs"
    signals: tuple[str, ...] = ("embedding",)  # an instance's own follow its settings
    weight_ce = 0.0
    label_use = "used"
    inputs = ("texts",)

    def __init__(
        self,
        *,
        weight_label: NotNegative = 1.0,
        weight_score: NotNegative = 1.0,
        weight_query: NotNegative = 1.0,
        documents: Literal["own", "teacher"] = "teacher",
        queries: Literal["labelled", "given"] = "labelled",
        temperature: Positive = TEMPERATURE,
    ):
        super().__init__()
        self.weight_label, self.weight_score, self.weight_query = weight_label, weight_score, weight_query
        self.documents, self.queries, self.temperature = documents, queries, temperature
        self.signals = ("embedding",) if weight_score or weight_query or documents == "teacher" else ()
        self.project: nn.Module = nn.Identity()

    def setup(self, context: RetrievalContext) -> None:
        if self.weight_query:
            self.project = projection(context.width, context.teacher_width)

    def forward(self, student: dict[str, Tensor], batch: RetrievalBatch) -> dict[str, Tensor]:
        logits = student["query"] @ student["document"].T / self.temperature
        terms: dict[str, Tensor] = {}
        if self.weight_label:
            terms["labels"] = self.weight_label * contrastive(logits, batch.relevant)
        if self.weight_score:
            terms["scores"] = self.weight_score * listwise(logits, batch.scores / self.temperature)
        if self.weight_query:
            ours = F.normalize(self.project(student["query"]), dim=1)
            terms["query"] = self.weight_query * distance(ours, batch.teacher["query"])
        return terms

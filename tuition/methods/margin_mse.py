"""`margin-mse`: the teacher's margins between relevant documents and others (arXiv 2010.02666 [abs]).

Loss: mean over queries and pairs of a relevant document p and another one n of ((s_p − s_n) − (t_p − t_n))², s and t the cosines of query
and document, the student's and the teacher's. The others are those of the batch, and the near ones of `train.negatives`.
Ours differs: the paper has one other document for each query, mined before, and scores without a bound; cosines need no scale of their own.
`weight_label` adds the contrastive loss on what is relevant, at `temperature`.
"""

from torch import Tensor, nn

from tuition.losses.retrieval import contrastive, margins
from tuition.methods.retrieval import TEMPERATURE, RetrievalBatch
from tuition.ranges import NotNegative, Positive


class MarginMSE(nn.Module):
    task = "retrieval"
    source, evidence = "arXiv 2010.02666", "abs"
    signals: tuple[str, ...] = ("embedding",)
    weight_ce = 0.0
    label_use = "used"
    inputs = ("texts",)
    documents, queries = "own", "labelled"

    def __init__(self, *, weight_label: NotNegative = 0.0, temperature: Positive = TEMPERATURE):
        super().__init__()
        self.weight_label, self.temperature = weight_label, temperature

    def forward(self, student: dict[str, Tensor], batch: RetrievalBatch) -> dict[str, Tensor]:
        scores = student["query"] @ student["document"].T
        terms = {"margins": margins(scores, batch.scores, batch.relevant)}
        if self.weight_label:
            terms["labels"] = self.weight_label * contrastive(scores / self.temperature, batch.relevant)
        return terms

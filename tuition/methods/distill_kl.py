"""`distill-kl`: the teacher's ranking of a batch's documents for each query, as a distribution (listwise; arXiv 2010.11386 [abs]).

Loss: mean over queries of KL(softmax(t / temperature_teacher) ‖ softmax(s / temperature)) over the documents of the batch, the near ones of
`train.negatives` among them; s and t are the cosines of query and document, the student's and the teacher's. `weight_label` adds the
contrastive loss on what is relevant.
Ours differs: temperatures, as cosines are bounded.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from tuition.losses.retrieval import contrastive
from tuition.methods.retrieval import TEMPERATURE, RetrievalBatch
from tuition.ranges import NotNegative, Positive


class DistillKL(nn.Module):
    task = "retrieval"
    source, evidence = "arXiv 2010.11386", "abs"
    signals: tuple[str, ...] = ("embedding",)
    weight_ce = 0.0
    label_use = "used"
    inputs = ("texts",)
    documents, queries = "own", "labelled"

    def __init__(
        self,
        *,
        weight_label: NotNegative = 0.0,
        temperature: Positive = TEMPERATURE,
        temperature_teacher: Positive = TEMPERATURE,
    ):
        super().__init__()
        self.weight_label, self.temperature, self.temperature_teacher = weight_label, temperature, temperature_teacher

    def forward(self, student: dict[str, Tensor], batch: RetrievalBatch) -> dict[str, Tensor]:
        logits = student["query"] @ student["document"].T / self.temperature
        ours = F.log_softmax(logits, dim=1)
        theirs = F.log_softmax(batch.scores / self.temperature_teacher, dim=1)
        terms = {"ranking": F.kl_div(ours, theirs, reduction="batchmean", log_target=True)}
        if self.weight_label:
            terms["labels"] = self.weight_label * contrastive(logits, batch.relevant)
        return terms

"""`seq-kd`: the texts that the teacher writes, as if they were the references (sequence distillation, arXiv 1606.07947).

Loss: mean −log q(y_t | x, y_<t) over all tokens of the teacher's texts. Ours differs: these are greedy, the paper's from a beam search.
"""

from torch import Tensor, nn

from tuition.losses.tokens import each, nll
from tuition.methods.language import LanguageBatch, LanguageStudent, Learns


class SeqKD(nn.Module):
    task = "generate"
    source, evidence = "arXiv 1606.07947", "mem"
    signals: tuple[str, ...] = ("text",)
    weight_ce = 0.0
    label_use = "none"
    inputs = ("texts",)
    learns: Learns = "answers"

    def forward(self, student: LanguageStudent, batch: LanguageBatch) -> dict[str, Tensor]:
        return {"tokens": each(student.states, student.head, nll(batch.targets)).mean()}

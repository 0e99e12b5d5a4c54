"""`token-kd`: the teacher's probabilities at each token of given texts (word distillation, arXiv 1606.07947).

Loss: mean KL(p ‖ q) over all tokens of the texts, p the teacher's k likeliest tokens and one bin for all others. The texts are those that
the teacher scored: its own, or the references (`teach.texts`). Ours differs: the k and the bin in place of the whole vocabulary.
"""

from torch import Tensor, nn

from tuition.losses.tokens import each, forward_kl
from tuition.methods.language import LanguageBatch, LanguageStudent, Learns


class TokenKD(nn.Module):
    task = "generate"
    source, evidence = "arXiv 1606.07947", "mem"
    signals: tuple[str, ...] = ("text", "tops")
    weight_ce = 0.0
    label_use = "none"
    inputs = ("texts",)
    learns: Learns = "answers"

    def forward(self, student: LanguageStudent, batch: LanguageBatch) -> dict[str, Tensor]:
        assert batch.top_values is not None
        assert batch.top_indices is not None
        return {"kl": each(student.states, student.head, forward_kl(batch.top_values, batch.top_indices)).mean()}

"""`sft`: the references of the prompts that were bought, without any teacher (what distillation is held against).

Loss: mean −log q(y_t | x, y_<t) over all tokens of the references.
"""

from torch import Tensor, nn

from tuition.losses.tokens import each, nll
from tuition.methods.language import LanguageBatch, LanguageStudent, Learns


class SFT(nn.Module):
    task = "generate"
    source, evidence = "", "mem"
    signals: tuple[str, ...] = ()
    weight_ce = 0.0
    label_use = "none"
    inputs = ("texts",)
    learns: Learns = "references"

    def forward(self, student: LanguageStudent, batch: LanguageBatch) -> dict[str, Tensor]:
        return {"tokens": each(student.states, student.head, nll(batch.targets)).mean()}

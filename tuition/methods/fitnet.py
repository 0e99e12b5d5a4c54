"""`fitnet`: hints from one of the teacher's maps (Romero et al. 2015, arXiv 1412.6550 [code, RepDistiller's weight]).

Loss: weight · MSE(head(F^s), F^t), mean over batch, channels and positions. `layer` counts the paired stages from 1.
The head is a 1×1 convolution and batch norm; where the sizes differ, the larger map is average-pooled first [ours: the released code
uses a strided, transposed or k×k convolution and a ReLU]. Trained beside cross-entropy, not in a stage before it.
"""

from torch import Tensor, nn

from tuition.losses.features import Hint
from tuition.losses.layers import chosen, paired
from tuition.methods.protocol import Batch, Context
from tuition.ranges import NotNegative


class FitNet(nn.Module):
    source, evidence = "arXiv 1412.6550", "code"
    signals: tuple[str, ...] = ("map",)
    maps = True
    one_place = True
    label_use = "needed"

    def __init__(self, *, weight: NotNegative = 100.0, layer: int = 2):
        super().__init__()
        self.weight, self.layer = weight, layer

    def setup(self, context: Context) -> None:
        self.ours, self.theirs = chosen("fitnet", self.layer, paired(context.student, context.teacher))
        self.hint = Hint(context.student[self.ours][0], context.teacher[self.theirs].shape[1])

    def forward(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        return {"teacher": self.weight * self.hint(student[self.ours], batch.teacher[self.theirs])}

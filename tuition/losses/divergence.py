"""The divergence that distillation methods share."""

from torch import Tensor
from torch.nn import functional as F


def kd(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """KD_T(student ‖ target) = T² · mean KL(softmax(target / T) ‖ softmax(student / T)), of logits (B, C) (Hinton 2015 [code]).

    The target is detached: nothing flows to the teacher.
    """
    ours = F.log_softmax(student / temperature, dim=1)
    theirs = F.log_softmax(target.detach() / temperature, dim=1)
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)

"""Samples that were not bought, in every step: they ride behind the rows that the method sees, and add one term.

The term is the mean, over the R others of the step, of weight × cross-entropy between what is estimated of the teacher (or the label)
and what the student says. Rows weigh alike: of a step with B bought samples the loss is (B · method + R · term) / (B + R), so that a
batch of which nine tenths were not bought is not ruled by the other tenth.
Which samples a step has is a function of (seed, step), as for the bought ones.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from tuition.inputs.protocol import Placed
from tuition.losses import labelled
from tuition.methods.protocol import Rest
from tuition.training.loader import Loader

APART = 500_000_003  # between the seed of bought samples and that of the rest


def share_of(batch_size: int, share: float) -> int:
    """How many of `batch_size` rows are not bought ones: the share, but two rows are bought and one is not."""
    return min(max(1, round(batch_size * share)), batch_size - 2)


class RestLoader:
    """An endless sequence of samples that were not bought, by step."""

    def __init__(self, inputs: Placed, arrays: Mapping[str, Tensor], classes: int, rows: int, seed: int):
        """inputs (M, …) and the other arrays of `TrainingSet.rest`; `rows` of them a step (all where there are fewer)."""
        signals = {name: arrays[name] for name in ("weight", "share", "estimated") if name in arrays}
        self.loader = Loader(inputs, arrays["labels"], signals, batch_size=rows, seed=seed + APART)
        self.classes = classes

    @property
    def rows(self) -> int:
        """Of a step."""
        return self.loader.batch_size

    def at(self, step: int) -> Rest:
        """The rest of `step` (from 0)."""
        batch = self.loader.batch(step)
        share, estimated = batch.teacher["share"][:, None], batch.teacher.get("estimated")
        target = share * labelled.one_hot(batch.labels, self.classes)
        if estimated is not None:
            target = target + (1 - share) * estimated
        return Rest(batch.inputs, target, batch.teacher["weight"], batch.labels)


def behind(inputs: Tensor, rest: Tensor) -> Tensor:
    """(B + R, …): the rest behind the batch. Of texts the narrower of the two is filled up with 0, as a batch is."""
    if inputs.ndim == 2 and inputs.shape != rest.shape:
        wide = max(inputs.shape[1], rest.shape[1])
        inputs, rest = (F.pad(one, (0, wide - one.shape[1])) for one in (inputs, rest))
    return torch.cat([inputs, rest])


def term(logits: Tensor, rest: Rest) -> Tensor:
    """mean over R of weight × −Σ_c target_c · log softmax(logits)_c; logits (R, C) float32."""
    return -(rest.weight * (rest.target * F.log_softmax(logits, dim=1)).sum(dim=1)).mean()


def beside(terms: dict[str, Tensor], rest: dict[str, Tensor], bought: int, others: Rest | None) -> dict[str, Tensor]:
    """The method's terms, means over the bought rows, and those of the rest, means over the others, each by its share of the rows."""
    if not rest or others is None:
        return terms
    share = len(others.labels) / (bought + len(others.labels))
    return {name: (1 - share) * value for name, value in terms.items()} | {
        name: share * value for name, value in rest.items()
    }

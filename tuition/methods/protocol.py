"""What a method is, and what it is given: its card, the context of its training, and each batch. Imports no torch: it costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tuition.losses.comparisons import Groups
    from tuition.models.network import Network


LABEL_USES = {  # what becomes of samples without a label (-1), with the plain cross-entropy beside the method
    "none": "reads no label",
    "used": "uses labels where they are, and learns without",
    "needed": "uses labels where they are; without any it does not learn the classes, unless with +kd",
    "all": "every sample must have one",
}

REST_USES = {  # what becomes of samples that were not bought, where `train.rest` or the method's `rest` has some
    "added": "a term is added for them",
    "read": "it has terms of its own for them, and learns without",
    "needed": "it has terms of its own for them, and there must be some",
}
RESTS = ("none", "estimated", "labelled", "both", "unlabelled")  # what is known of them


class Card(NamedTuple):
    """What a method's class says of itself, by class attributes of these names."""

    task: str = (
        "classification"  # or retrieval, generate: `retrieval.py`, `language.py` say what their methods are given
    )
    source: str = ""  # the paper
    evidence: str = (
        ""  # code: read in the authors' code; abs: only an abstract was readable; mem: common knowledge; ours
    )
    signals: tuple[str, ...] = ()  # families of teacher signals
    compares: bool = False  # needs comparisons
    maps: bool = False  # reads the student's stage maps
    one_place: bool = False  # maps of one place, as those of texts are, say something to it
    inside: tuple[str, ...] = ()  # what else it reads inside the student: stem, preact
    weight_ce: float = 1.0  # of plain cross-entropy beside it; 0: it has a labels term of its own, or none
    views: str = "clean"  # or mixed: it also reads mixed inputs, each one a call
    inputs: tuple[
        str, ...
    ] = ()  # kinds of inputs that it takes, where it looks inside a sample; (): any, as it does not
    calls: float = 1.0  # teacher calls a sample
    several: bool = False  # reads the answers of `teachers` too: as many calls more a sample, each
    label_use: str = "all"  # of what labels it needs, see LABEL_USES; of a method that does not say, that all are known
    rest_use: str = "added"  # of samples that were not bought, see REST_USES


class Rest(NamedTuple):
    """R samples that were not bought: inputs (R, …) as those of a `Batch`, target (R, C) float32, probabilities (zeros where nothing is
    known), weight (R,) float32, labels (R,) int64, −1 where unknown or not to be used."""

    inputs: Tensor
    target: Tensor
    weight: Tensor
    labels: Tensor


class Batch(NamedTuple):
    """B samples as a step sees them. Everything of the teacher's is constant: no gradient reaches it.

    inputs (B, …) as the student's network takes them (images: (B, C, H, W) float32, normalised), labels (B,) int64, −1 where unknown,
    teacher {signal: (B, …)} float32 (packed bits stay uint8), rows (B,) int64 of the bought samples, `step` from 0, and a `generator` on
    the inputs' device that is seeded by (seed, step): what a method draws comes from it, so that a run that was killed draws the same
    again. `groups` are the comparisons, where the method compares. For a method that reads several teachers, `others`
    {name: {signal: (B, …)}} and `present` {name: (B,) bool} as in `Context`.
    `extra` is what a method's `augment` hands on to its `forward`; `augment` may append inputs after the first B. `rest` rides behind all
    of these in the student's pass, and adds a term of its own; a method need not look at it: its terms are means over rows, and are
    weighed by the share of the rows that are its. One with terms of
    its own for it (`Card.rest_use`) has these instead: its `augment` may change the rest's inputs, and it is given what the student says
    of them as `rest` (R', C).
    """

    inputs: Tensor
    labels: Tensor
    teacher: dict[str, Tensor]
    rows: Tensor
    step: int
    generator: torch.Generator
    groups: Groups | None = None
    extra: Mapping[str, Any] = {}
    others: Mapping[str, dict[str, Tensor]] = {}
    present: Mapping[str, Tensor] = {}
    rest: Rest | None = None


@dataclass(frozen=True)
class Context:
    """Given once to a method's `setup`, which builds its heads and banks from it. n bought samples, C classes.

    student: shapes a sample of the student's signals: logits (C,), embedding (d,), map1, map2, … (c, h, w), shallow to deep, and what
    `inside` names: preact1, preact2, … (c, h, w), before their activation; stem (c, h, w), where the network is known to have one.
    teacher: the bought outputs (n, …) as they are stored (float16, float32 or uint8), on the device.
    inputs: the bought samples (n, …) as they are stored (images: (n, C, H, W) uint8); `normalise` turns such samples into what the
    student sees.
    `make_student()` gives a fresh copy of the student's architecture, `make_student(arch)` one of another.
    constants: what the teacher has one of: classifier_weight (C, d), classifier_bias (C,).
    mixed: mixed inputs that were bought: inputs (m, …) as stored, logits (m, C), first and second (m,) rows of the bought
    samples, lam (m,) the first one's share; empty where none were.
    others: for a method that reads several teachers, what each of `teachers` answered for the same samples, {name: {signal: (n, …)}}, and
    present: {name: (n,) bool}, false where that one has no answer that can be used, and its values stand for nothing.
    """

    student: dict[str, tuple[int, ...]]
    teacher: dict[str, Tensor]
    labels: Tensor
    classes: int
    steps: int
    per_epoch: int
    seed: int
    inputs: Tensor
    normalise: Callable[[Tensor], Tensor]
    make_student: Callable[..., Network]
    student_model: Network
    constants: dict[str, Tensor] = field(default_factory=dict)
    mixed: dict[str, Tensor] = field(default_factory=dict)
    others: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)


class Method(Protocol):
    """An `nn.Module` with the attributes of `Card`, keyword settings in `__init__`, and this call. It may have more of these:

    setup(context)            builds heads and banks, once, before the first step
    augment(batch) -> batch   other inputs than the batch's, or more after the first B
    wrap(student) -> student  the student as it is deployed, where the method gives it another head
    """

    signals: tuple[str, ...]

    def __call__(self, student: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Loss terms by name, scalars, for student signals (B', …) float32 whose first B rows are the batch's samples."""
        ...

"""What a method may know of the training that it is part of, before the first step."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True)
class Facts:
    """Given once to a method's `setup`, which builds its heads and banks from it. n bought samples, C classes.

    student: shapes a sample of the student's signals: logits (C,), embedding (d,), map1, map2, … (c, h, w), shallow to deep.
    teacher: the bought outputs (n, …) as they are stored (float16, float32 or uint8), on the device.
    constants: what the teacher has one of: classifier_weight (C, d), classifier_bias (C,).
    mixed: mixed inputs that were bought: images (m, C, H, W) uint8, logits (m, C), first and second (m,) rows of the bought
    samples, lam (m,) the first one's share; empty where none were.
    others: for a method that reads several teachers, what each of `teachers` said of the same samples, {name: {signal: (n, …)}}, and
    present: {name: (n,) bool}, false where that one has no answer that can be used, and its values stand for nothing.
    pixels (n, C, H, W) uint8; `normalise` turns such images into what the student sees.
    `make_student()` gives a fresh copy of the student's architecture, `make_student(arch)` one of another.
    """

    student: dict[str, tuple[int, ...]]
    teacher: dict[str, Tensor]
    labels: Tensor
    classes: int
    steps: int
    per_epoch: int
    seed: int
    pixels: Tensor
    normalise: Callable[[Tensor], Tensor]
    make_student: Callable[..., nn.Module]
    student_model: nn.Module
    constants: dict[str, Tensor] = field(default_factory=dict)
    mixed: dict[str, Tensor] = field(default_factory=dict)
    others: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)

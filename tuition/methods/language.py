"""What a method of language models is, and what it is given: tokens of prompts and texts, and the student's states at the texts' tokens.

It is an `nn.Module` with the class attributes of `Card` and `task = "generate"`, keyword settings, and `forward(student, batch) → terms`.
Its attribute `learns` says which texts it learns from: `references`, or the teacher's `answers`. Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

Learns = Literal["references", "answers"]


class LanguageStudent(NamedTuple):
    """The student's last hidden states (N, h) before the N tokens of a batch's texts, and the layer that makes logits (N, V) of them."""

    states: Tensor
    head: nn.Module


class LanguageBatch(NamedTuple):
    """B sequences with N tokens of texts. tokens (B, T) int64, places (N,) int64 in the flattened (B · T) of what comes before each token,
    targets (N,) int64: the tokens; of the teacher's answers `top_values` (N, k) float32 and `top_indices` (N, k) int64; `step` from 0."""

    tokens: Tensor
    places: Tensor
    targets: Tensor
    top_values: Tensor | None
    top_indices: Tensor | None
    step: int


class LanguageMethod(Protocol):
    signals: tuple[str, ...]
    learns: Learns

    def __call__(self, student: LanguageStudent, batch: LanguageBatch) -> dict[str, Tensor]:
        """Loss terms by name, scalars: means over the N tokens."""
        ...

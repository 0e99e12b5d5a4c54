"""What a method of retrieval is, and what it is given: texts of queries and documents, and the student's embeddings of them.

It is an `nn.Module` with the class attributes of `Card` and `task = "retrieval"`, keyword settings, `forward(student, batch) → terms`, and,
where it builds heads, `setup(context)`. All embeddings are of length 1, so that the product of two is their cosine. Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEMPERATURE = 0.05  # cosines over this are logits: those of 1 and 0.9 are told apart by a factor of e²


class RetrievalBatch(NamedTuple):
    """Q queries and K documents as a step sees them; what is the teacher's is constant.

    queries (Q, L) and documents (K, L') are tokens, documents None where they are the teacher's; `relevant` (Q, K) bool, of some queries
    False alone where none is known; `teacher` {"query": (Q, t), "document": (K, t)} float32 of length 1; `step` from 0; `generator` is
    seeded by (seed, step): what a method draws comes from it.
    """

    queries: Tensor
    documents: Tensor | None
    relevant: Tensor
    teacher: dict[str, Tensor]
    step: int
    generator: torch.Generator

    @property
    def scores(self) -> Tensor:
        """(Q, K): what the teacher has as the cosine of a query and a document."""
        return self.teacher["query"] @ self.teacher["document"].T


class RetrievalContext(NamedTuple):
    """Given once to a method's `setup`: the numbers of an embedding, the student's and the teacher's."""

    width: int
    teacher_width: int


class RetrievalMethod(Protocol):
    """`documents`: whose embeddings of documents the student goes by, its own or the teacher's, which then stay as they are. `queries`:
    whether it learns from training queries with a relevant document alone, or from those that are given without, too."""

    signals: tuple[str, ...]
    documents: str = "own"
    queries: str = "labelled"

    def __call__(self, student: dict[str, Tensor], batch: RetrievalBatch) -> dict[str, Tensor]:
        """Loss terms by name, scalars, for the student's {"query": (Q, s), "document": (K, s)} float32, of length 1."""
        ...

"""Batches of queries and documents, each a function of (seed, step) alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tuition.inputs.protocol import Placed
from tuition.methods.retrieval import RetrievalBatch
from tuition.targets.embeddings import unit

NEAR = 50  # documents near to a query that its negatives are drawn from


@dataclass(frozen=True)
class RetrievalSet:
    """What a student learns from: n owned texts, documents and queries.

    texts (n,) objects, teacher (n, t): the embeddings that were bought of them. `relevance` (m, 2): rows of a query and of a document that
    answers it; `documents` (D,): rows of documents; `extra` (E,): rows of queries of which none is known.
    """

    texts: np.ndarray
    teacher: np.ndarray
    relevance: np.ndarray
    documents: np.ndarray
    extra: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by a name of its own: what a run learns from is told apart by them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class PairLoader:
    """An endless sequence of batches, by step: `batch_size` training queries without replacement, one relevant document of each at random,
    and `negatives` near ones that are not relevant; with `extra` as many queries again of which none is known, as far as there are some.

    `texts` are placed on one device; `own`: the student sees documents, or goes by the teacher's.
    """

    def __init__(
        self, data: RetrievalSet, texts: Placed, *, batch_size: int, seed: int, negatives: int, extra: bool, own: bool
    ):
        self.texts, self.seed, self.own = texts, seed, own
        device = texts.device
        self.teacher = torch.from_numpy(unit(data.teacher)).to(device)
        queries, answers = _answers(data.relevance)
        self.queries, self.answers = (torch.from_numpy(one).to(device) for one in (queries, answers))
        self.extra = torch.from_numpy(data.extra if extra else data.extra[:0]).to(device)
        self.number = (self.answers >= 0).sum(dim=1)
        near = _near(self.teacher, data, queries) if negatives else np.empty((len(queries), 0), dtype=np.int64)
        self.near, self.negatives = torch.from_numpy(near).to(device), min(negatives, near.shape[1])
        self.take = min(batch_size, len(queries))
        self.batch_size = self.take * (2 + self.negatives)  # texts, for the speed that is shown
        self.per_epoch = len(queries) // self.take
        self.generator = torch.Generator(device)
        self.order, self.epoch = torch.empty(0), -1

    def batch(self, step: int) -> RetrievalBatch:
        """The batch of `step` (from 0)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self._reseed(2 * epoch)
            self.order, self.epoch = self._permuted(len(self.queries)), epoch
        some = self.order[place * self.take : (place + 1) * self.take]
        self._reseed(2 * step + 1)
        queries, documents = self.queries[some], self._documents(some)
        relevant = (documents[None, :, None] == self.answers[some][:, None, :]).any(dim=2)
        if len(self.extra):
            more = self.extra[self._permuted(len(self.extra))[: self.take]]
            queries = torch.cat([queries, more])
            relevant = torch.cat([relevant, relevant.new_zeros(len(more), len(documents))])
        return RetrievalBatch(
            queries=self.texts.batch(queries, self.generator),
            documents=self.texts.batch(documents, self.generator) if self.own else None,
            relevant=relevant,
            teacher={"query": self.teacher[queries], "document": self.teacher[documents]},
            step=step,
            generator=self.generator,
        )

    def _documents(self, some: Tensor) -> Tensor:
        """Rows (K,) of the batch's documents, each once."""
        chance = torch.rand(len(some), generator=self.generator, device=self.generator.device)
        number = self.number[some]
        picked = self.answers[some, torch.minimum((chance * number).long(), number - 1)]
        if self.negatives:
            places = torch.rand(len(some), self.near.shape[1], generator=self.generator, device=self.generator.device)
            chosen = places.argsort(dim=1)[:, : self.negatives]
            picked = torch.cat([picked, self.near[some].gather(1, chosen).flatten()])
        return torch.unique(picked)

    def _permuted(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator, device=self.generator.device)

    def _reseed(self, number: int) -> None:
        # Odd numbers are steps, even ones epochs; the multiplier keeps seeds apart for any length of training.
        self.generator.manual_seed((self.seed * 1_000_000_007 + number) % 2**63)


def _answers(relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Queries (T,), and the documents of each (T, most), −1 behind them."""
    ordered = relevance[np.lexsort((relevance[:, 1], relevance[:, 0]))]
    queries, first, number = np.unique(ordered[:, 0], return_index=True, return_counts=True)
    answers = np.full((len(queries), number.max()), -1, dtype=np.int64)
    of = np.repeat(np.arange(len(queries)), number)
    answers[of, np.arange(len(ordered)) - first[of]] = ordered[:, 1]
    return queries, answers


def _near(teacher: Tensor, data: RetrievalSet, queries: np.ndarray) -> np.ndarray:
    """For each query (T,) the NEAR owned documents (T, k) of the teacher's highest cosines that are not relevant; k is what all have."""
    documents = torch.from_numpy(data.documents).to(teacher.device)
    place = {document: number for number, document in enumerate(data.documents.tolist())}
    answers_of: dict[int, list[int]] = {}
    for query, document in data.relevance.tolist():
        answers_of.setdefault(query, []).append(place[document])
    found = []
    for start in range(0, len(queries), 256):
        some = queries[start : start + 256]
        scores = teacher[torch.from_numpy(some).to(teacher.device)] @ teacher[documents].T
        for row, query in enumerate(some.tolist()):
            scores[row, answers_of[query]] = -torch.inf
        most = max(0, min(NEAR, len(documents) - max(len(answers_of[query]) for query in queries.tolist())))
        found.append(documents[scores.topk(most, dim=1).indices].cpu().numpy())
    return np.concatenate(found)

"""One training run of a student of retrieval, from arrays to what came of it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.files import digest
from tuition.inputs.kinds import inputs_of
from tuition.losses.retrieval import contrastive
from tuition.methods.objective import Objective
from tuition.methods.retrieval import TEMPERATURE, RetrievalBatch, RetrievalContext
from tuition.models.description import ModelDescription
from tuition.models.network import Network
from tuition.models.start import started
from tuition.params import StudentTraining
from tuition.targets.embeddings import unit
from tuition.targets.ranking import figures, rank
from tuition.training.display import Speed
from tuition.training.loop import Learner, Row, batches, make_fabric
from tuition.training.loop import Progress as Trained
from tuition.training.pairs import PairLoader, RetrievalSet
from tuition.training.resumable import circumstances, fit_to_the_end
from tuition.training.state import TrainingState, run_digest

FIGURE = "val_ndcg10"  # by which the best student is chosen
TOGETHER = 500  # texts in one pass


class Held(NamedTuple):
    """What a student is held against: queries (Q,), all documents (D,), and relevance (m, 3): rows of both, and how relevant."""

    queries: np.ndarray
    documents: np.ndarray
    relevance: np.ndarray


class RetrievalLearner(Learner):
    """The student and its objective as one module; documents are the student's, or the teacher's."""

    def forward(self, batch: RetrievalBatch) -> dict[str, Tensor]:  # type: ignore[override]
        ours = {"query": self._embed(batch.queries)}
        ours["document"] = batch.teacher["document"] if batch.documents is None else self._embed(batch.documents)
        return self.objective.method(ours, batch)  # type: ignore[arg-type]

    def _embed(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.student(tokens).float(), dim=1)


def train(
    name: str,
    model: ModelDescription,
    objective: Objective,
    settings: StudentTraining,
    seed: int,
    data: RetrievalSet,
    held: Held,
    *,
    documents: np.ndarray | None = None,
    identity: object = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> tuple[Trained, Speed]:
    """Train the model described by `model` with `objective` on `data`; returns what came of it and the run's speed.

    The best by nDCG@10 of `held` is kept. `documents` (D, t): the teacher's embeddings of all documents, which stay as they are; None: the
    student's own. `identity` joins arrays and settings in deciding whether a training state is this run's. Raises UserError where no
    training query is left.
    """
    if not len(data.relevance):
        raise UserError(
            f"{name}: none of the texts that were bought is a training query with a relevant document that was bought too; raise "
            "study.budgets, or set teach.strategy: pairs"
        )
    torch.manual_seed(seed)
    student = started(model)
    fabric = make_fabric(settings)
    loader = PairLoader(
        data,
        inputs_of(model).place(data.texts, fabric.device, model, settings),
        batch_size=settings.batch_size,
        seed=seed,
        negatives=settings.negatives,
        extra=getattr(objective.method, "queries", "labelled") == "given",
        own=documents is None,
    )
    objective.to(fabric.device).setup(RetrievalContext(model["embedding"], data.teacher.shape[1]))  # type: ignore[arg-type]
    learner = RetrievalLearner(student, objective)
    validate = validator(model, held, documents, fabric.device)
    where = circumstances(fabric, list(data.arrays()))
    content = digest(*_hashable(data), held.relevance, *([] if documents is None else [documents]))
    state = TrainingState(name, run_digest(model, vars(settings), seed, identity, where, content))
    return fit_to_the_end(
        learner,
        loader,
        validate,
        settings,
        fabric,
        state,
        name=name,
        batch_size=loader.batch_size,
        on_row=on_row,
        figure=FIGURE,
    )


def _hashable(data: RetrievalSet) -> list[np.ndarray]:
    """Its arrays, texts as bytes."""
    return [
        np.array([text.encode() for text in array]) if name == "texts" else array
        for name, array in data.arrays().items()
    ]


@torch.inference_mode()
def embed(network: Network, model: ModelDescription, texts: np.ndarray, device: torch.device) -> np.ndarray:
    """What a student gives of texts (n,): embeddings (n, d) float32, as they come."""
    kind = inputs_of(model)
    network.eval()
    parts = []
    for part in batches(len(texts), TOGETHER):
        tokens = torch.from_numpy(kind.numbers(texts[part], model)).to(device)
        parts.append(network(kind.arranged(tokens)).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, model["embedding"]), dtype=np.float32)


def validator(
    model: ModelDescription, held: Held, documents: np.ndarray | None, device: torch.device
) -> Callable[[Network], Row]:
    """A function that gives a student's nDCG@10, MRR@10 and contrastive loss over all documents on `held`."""
    frozen = None if documents is None else unit(documents)

    def validate(student: Network) -> Row:
        index = unit(embed(student, model, held.documents, device)) if frozen is None else frozen
        queries = unit(embed(student, model, held.queries, device))
        found = figures(rank(queries, index, 10)[0], held.relevance)
        return {
            "val_loss": _loss(queries, index, held.relevance),
            FIGURE: float(found["ndcg10"].mean()),
            "val_mrr10": float(found["mrr10"].mean()),
        }

    return validate


def _loss(queries: np.ndarray, index: np.ndarray, relevance: np.ndarray) -> float:
    """Mean contrastive loss over queries, each with all documents."""
    total = 0.0
    documents = torch.from_numpy(index)
    for part in batches(len(queries), 256):
        scores = torch.from_numpy(queries[part]) @ documents.T
        some = relevance[(relevance[:, 0] >= part.start) & (relevance[:, 0] < part.stop)]
        relevant = torch.zeros(scores.shape, dtype=torch.bool)
        relevant[some[:, 0] - part.start, some[:, 1]] = True
        total += float(contrastive(scores / TEMPERATURE, relevant)) * len(scores)
    return total / max(1, len(queries))

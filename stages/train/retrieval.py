"""A student of retrieval: what it learns from, of the files of its budget and method, and the index of all documents beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from stages.train.meta import best_row, cell_meta
from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import read_array, read_json, write_array
from tuition.inputs.kinds import workspace_inputs
from tuition.methods import build
from tuition.models import load_student
from tuition.models.description import ModelDescription
from tuition.params import Params
from tuition.targets.embeddings import unit
from tuition.training.display import Speed
from tuition.training.loop import Progress as Trained
from tuition.training.loop import Row
from tuition.training.pairs import RetrievalSet
from tuition.training.retrieval import Held, embed, train
from tuition.training.run import describe
from tuition.workspace import Model, Workspace, cell_name

SIGNAL = "embedding"


def train_retrieval(
    params: Params, budget: int, name: str, seed: int, on_row: Callable[[Row], None]
) -> tuple[Trained, Speed, ModelDescription, dict[str, Any]]:
    """Train the cell's student: (what came of it, speed, the student's description, its meta).

    Raises UserError where the student goes by the teacher's documents and one of them was not bought.
    """
    section, groups = params.methods.get(name), read_json(Workspace().comparisons(budget, name).meta)
    objective, data = build(name, section), read_retrieval_set(budget)
    documents = read_documents(budget) if takes_documents(params, name) else None
    settings = parameters.student_training(params, name)
    model = describe(params.student.arch, pool_texts(), params.student.taps, params.student)
    model["embedding"] = params.student.embedding or data.teacher.shape[1]
    done, speed = train(
        cell_name(budget, name, seed),
        model,
        objective,
        settings,
        seed,
        data,
        read_held("val"),
        documents=documents,
        identity=[name, section, groups.get("code")],
        on_row=on_row,
    )
    best = best_row(done)
    meta = cell_meta(params, budget, name, seed, settings, groups, done) | {
        "samples": len(data.texts),
        "pairs": len(data.relevance),
        "documents": "own" if documents is None else "teacher",
        **{key: best[key] for key in ("val_ndcg10", "val_mrr10", "val_loss")},
    }
    return done, speed, model, meta


def write_index(params: Params, budget: int, name: str, student: Model) -> None:
    """All documents (D, d) as this student, or the teacher, has them, of length 1."""
    if takes_documents(params, name):
        index = read_documents(budget)
    else:
        network, description = load_student(student.path)
        index = embed(network, description, pool_texts()[: _documents()], torch.device("cpu"))
    write_array(student.index, unit(index).astype(np.float16))


def takes_documents(params: Params, name: str) -> bool:
    """Whether the method's student goes by the teacher's own embeddings of documents."""
    return getattr(build(name, params.methods.get(name)).method, "documents", "own") == "teacher"


def pool_texts() -> np.ndarray:
    """(N,) documents, then queries."""
    return workspace_inputs().read(Workspace().split("train").path)


def read_held(split: str) -> Held:
    """What a student is held against on val or test."""
    files = Workspace().split(split)
    return Held(workspace_inputs().read(files.path), pool_texts()[: _documents()], read_array(files.relevance))


def read_retrieval_set(budget: int) -> RetrievalSet:
    """What was bought with a budget. A query is learnt from with those of its relevant documents that were bought too."""
    here, outputs = Workspace(), Workspace().outputs(budget)
    facts, owned = read_json(here.data.meta), _owned(budget)
    relevance = owned[read_array(here.split("train").relevance)[:, :2]]
    first_extra = facts["documents"] + facts["queries"]["train"]
    documents, extra = owned[: facts["documents"]], owned[first_extra:]
    return RetrievalSet(
        texts=pool_texts()[read_array(outputs.positions)],
        teacher=np.asarray(read_array(outputs.signal(SIGNAL))),
        relevance=relevance[(relevance >= 0).all(axis=1)],
        documents=documents[documents >= 0],
        extra=extra[extra >= 0],
    )


def read_documents(budget: int) -> np.ndarray:
    """The teacher's embeddings of all documents (D, t). Raises UserError where one was not bought, or has no usable answer."""
    owned = _owned(budget)[: _documents()]
    if lacking := int((owned < 0).sum()):
        raise UserError(
            f"{Workspace().outputs(budget)}: lacks {lacking} of {len(owned)} documents, whose embeddings students are to go by; raise "
            "study.budgets with teach.strategy: documents, or set the method's documents: own"
        )
    return np.asarray(read_array(Workspace().outputs(budget).signal(SIGNAL)))[owned]


def _documents() -> int:
    return read_json(Workspace().data.meta)["documents"]


def _owned(budget: int) -> np.ndarray:
    """Of each text of the pool (N,) the row of its answer in outputs/<budget>/, −1 where it was not bought."""
    place = {id: row for row, id in enumerate(read_array(Workspace().outputs(budget).ids).tolist())}
    ids = read_array(Workspace().split("train").ids).tolist()
    return np.array([place.get(id, -1) for id in ids], dtype=np.int64)

"""What a study of retrieval may not ask for, and what only one may: told by the keys, before anything is read."""

from collections.abc import Iterator
from typing import Any

from tuition.errors import UserError
from tuition.params.data import OF_RETRIEVAL
from tuition.params.schema import Data, Estimate, Params, StudentTraining

STRATEGIES = ("pairs", "documents")  # of purchase, that need queries and documents
VALID = ("pairs", "documents", "random", "kcenter", "kmeans", "probcover", "typiclust", "file")


def check_task(params: Params, where: str) -> None:
    """Raises UserError naming the key of `params` that does not go with its task; `where` names the file."""
    if params.data.task != "retrieval":
        _check_others(params, where)
        return
    for key, found, plain, why in of_classes(params):
        if found != plain:
            raise UserError(f"{where}: {key}: found {found!r}, but this is a study of retrieval, {why}: leave it out")
    if params.teach.strategy not in VALID:
        raise UserError(
            f"{where}: teach.strategy: found {params.teach.strategy!r}, which is about classes, but this is a study of retrieval; valid: "
            f"{', '.join(VALID)}"
        )
    if params.teacher.kind in ("checkpoint", "experts"):
        raise UserError(
            f"{where}: teacher.kind: found {params.teacher.kind!r}, which names classes, but this is a study of retrieval: a teacher "
            "answers with embeddings; valid: sentence, or python, table or http with teacher.answers: embedding"
        )


def of_classes(params: Params) -> Iterator[tuple[str, Any, Any, str]]:
    """Key, what it holds, what it holds where nobody asks for it, and why there is no such thing."""
    no_class = "which has no classes"
    for key in ("classes", "columns", "evaluation", "noise", "imbalance", "additions"):
        yield f"data.{key}", getattr(params.data, key), Data.model_fields[key].default, no_class
    estimator = Estimate.model_fields["estimator"].default
    yield "estimate.estimator", params.estimate.estimator, estimator, "and estimates are of classes"
    yield "train.rest", params.train.rest, StudentTraining.model_fields["rest"].default, "and estimates are of classes"
    yield "teachers", [one.name for one in params.teachers], [], "whose methods read one teacher"
    yield "teacher.samples", params.teacher.samples, 1, "and one answer to a text is enough"
    yield "compare.sets", dict(params.compare.sets), {}, "whose methods take no sets of comparisons"
    yield "train.devices", params.train.devices, 1, "which is trained in one process"
    yield "refresh.inbox", params.refresh.inbox, None, "for which there is no inbox"


def _check_others(params: Params, where: str) -> None:
    sources = ", ".join(OF_RETRIEVAL)
    found = {
        "teach.strategy": params.teach.strategy if params.teach.strategy in STRATEGIES else None,
        "student.embedding": params.student.embedding,
        "train.negatives": params.train.negatives or None,
    }
    for key, value in found.items():
        if value is not None:
            raise UserError(
                f"{where}: {key}: found {value!r}, which is of retrieval, but data.source is {params.data.source!r}: leave it out; "
                f"sources of documents and queries: {sources}"
            )

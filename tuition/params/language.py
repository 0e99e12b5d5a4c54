"""What a study of language models may not ask for, and what only one may: told by the keys, before anything is read."""

from tuition.errors import UserError, unknown
from tuition.params.retrieval import of_classes
from tuition.params.schema import Params, Teach

STRATEGIES = ("random", "kcenter", "kmeans", "probcover", "typiclust", "file")
KIND = "language"  # of teachers


def check_language(params: Params, where: str) -> None:
    """Raises UserError naming the key of `params` that does not go with its task; `where` names the file."""
    from tuition.models import check_causal

    if params.data.task != "generate":
        _check_others(params, where)
        return
    for key, found, plain, why in of_classes(params):
        if found != plain and key != "data.columns":
            raise UserError(
                f"{where}: {key}: found {found!r}, but this is a study of language models, {why}: leave it out"
            )
    if params.teach.strategy not in STRATEGIES:
        raise unknown(f"{where}: teach.strategy", params.teach.strategy, STRATEGIES, "(those of language models)")
    if params.teach.evaluation:
        raise UserError(
            f"{where}: teach.evaluation: found {params.teach.evaluation}, but val and test have references, which cost no call; set 0"
        )
    if params.teacher.kind != KIND:
        raise UserError(
            f"{where}: teacher.kind: found {params.teacher.kind!r}, but this is a study of language models; valid: {KIND}"
        )
    check_causal(f"{where}: teacher.arch", params.teacher.arch)
    check_causal(f"{where}: student.arch", params.student.arch)
    for key in ("encoder", "vocabulary", "max_tokens", "embedding"):
        if (found := getattr(params.student, key)) is not None:
            raise UserError(
                f"{where}: student.{key}: found {found!r}, but a student that writes reads as its teacher does: leave it out"
            )
    for key in ("token_dropout", "span_masking"):
        if found := getattr(params.train, key):
            raise UserError(
                f"{where}: train.{key}: found {found!r}, but a text that is learnt is read whole: leave it out"
            )
    if params.data.columns.texts or params.data.columns.label is not None:
        raise UserError(
            f"{where}: data.columns: text and label are of texts with classes, but data.columns.prompt makes this a study of language "
            "models: leave them out"
        )


def _check_others(params: Params, where: str) -> None:
    found = {
        "data.columns.reference": params.data.columns.reference,
        "teach.texts": None if params.teach.texts == Teach.model_fields["texts"].default else params.teach.texts,
        "teacher.kind": KIND if params.teacher.kind == KIND else None,
    }
    for key, value in found.items():
        if value is not None:
            raise UserError(
                f"{where}: {key}: found {value!r}, which is of language models, but data.source {params.data.source!r} is of "
                f"{params.data.task}: leave it out; data.columns.prompt names the column of prompts"
            )

"""What a method of retrieval needs: embeddings, and, where documents are the teacher's, all of these bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuition.errors import UserError
from tuition.methods import RETRIEVAL, build
from tuition.params import Params
from tuition.preflight.needs import Offer

if TYPE_CHECKING:
    from tuition.methods.objective import Objective

FAMILY = "embedding"


def check_retrieval(params: Params, name: str, objective: Objective, offered: Offer) -> None:
    """Raises UserError where the teacher gives no embedding, or one is needed of every document and documents are not bought first."""
    if offered is not None and FAMILY not in offered:
        raise UserError(
            f"study.methods: {name!r} is of retrieval, which needs a teacher's embeddings, but it gives only {', '.join(offered)}; set "
            f"teacher.answers: {FAMILY}, where the kind takes it. Methods of retrieval: {', '.join(RETRIEVAL)}"
        )
    if getattr(objective.method, "documents", "own") != "teacher":
        return
    if params.student.embedding is not None:
        raise UserError(
            f"student.embedding: found {params.student.embedding}, but {name!r} takes documents as the teacher has them, and its student "
            "is as wide as those: leave it out, or set methods." + f"{name}.documents: own"
        )
    if params.teach.strategy not in ("documents", "file"):
        raise UserError(
            f"teach.strategy: found {params.teach.strategy!r}, but {name!r} takes documents as the teacher has them, and all of them must "
            f"be bought: set documents, which buys them first, or methods.{name}.documents: own"
        )


def check_budget(params: Params, documents: int, texts: int) -> None:
    """Raises UserError where a method needs all `documents` and a query to be bought, and the `texts` that a budget buys are fewer."""
    for name in params.study.methods:
        takes = getattr(build(name, params.methods[name]).method, "documents", "own") == "teacher"
        if takes and texts <= documents:
            raise UserError(
                f"study.budgets: {name!r} takes all {documents} documents as the teacher has them, a call each, and queries beside them, "
                f"but a budget buys {texts} texts of the pool; valid: more than {documents}, or methods.{name}.documents: own"
            )

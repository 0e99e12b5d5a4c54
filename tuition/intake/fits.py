"""What a refresh cannot be combined with: it would pay again for what is owned, or more than its allowance."""

import os
from pathlib import Path
from typing import Any

from tuition.errors import UserError
from tuition.params import Data, Params
from tuition.signals import MAIN
from tuition.sources.splits import changed


def check(params: Params) -> None:
    """Raises UserError, before anything is taken or bought, naming the key and what to do."""
    teacher, teach = params.teacher, params.teach
    if teach.views > 1:
        raise UserError(
            f"teach.views: {teach.views}, but a refresh counts its allowance in samples, a call each; valid: 1. Nothing was taken"
        )
    if teacher.samples > 1:
        raise UserError(
            f"teacher.samples: {teacher.samples}, but a refresh counts its allowance in samples, a call each; valid: 1. Nothing was taken"
        )
    if teach.mixed:
        raise UserError(
            "teach.mixed: true, but mixed inputs are calls beyond the allowance of a refresh; valid: false. Nothing was taken"
        )
    if params.teachers:
        raise UserError(
            f"teachers: {', '.join(one.name for one in params.teachers)}, but a refresh spends one teacher's allowance; valid: []. "
            "Nothing was taken"
        )
    if teacher.kind == "experts":
        raise UserError(
            "teacher.kind: experts ranks samples within the pool, so that with every new sample it is another teacher, whose outputs are "
            "all bought anew; a refresh needs another kind. Nothing was taken"
        )
    if teacher.kind == "table":
        raise UserError(
            "teacher.kind: table holds answers that there are already, and none to new samples; a refresh needs a teacher that can be "
            "asked. Nothing was taken"
        )
    if teacher.kind == "checkpoint" and Path(os.path.relpath(teacher.weights)).parts[:1] == (MAIN,):
        raise UserError(
            f"teacher.weights: {teacher.weights!r} is trained on data/train by the pretrain stage, so that with every new sample it is "
            "another teacher, whose outputs are all bought anew. Keep the one that you have, which keeps what is owned: "
            "`cp -r teacher kept` and teacher.weights: kept. Nothing was taken"
        )


def check_data(params: Params, meta: dict[str, Any]) -> None:
    """Raises UserError where `data/` (whose meta.json is `meta`) was made with other parameters than those of params.yaml."""
    others = [key for key in changed(params.data, meta) if key != "additions"]
    if others:
        key, then = others[0], Data().model_dump() | meta.get("data", {})
        raise UserError(
            f"data.{key}: {params.data.model_dump()[key]!r}, but data/ was made with {then[key]!r}; run `dvc repro prepare` first"
        )

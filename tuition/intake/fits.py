"""What a refresh cannot be combined with: it would pay again for what is owned, or more than its allowance."""

import os
from pathlib import Path
from typing import Any

from tuition.errors import UserError
from tuition.params import Params
from tuition.signals import MAIN


def check(params: Params) -> None:
    """Raises UserError, before anything is taken or bought, naming the key and what to do."""
    teacher, teach = params.teacher, params.teach
    if teach.views > 1:
        raise UserError(
            f"teach.views: {teach.views}, but a refresh counts its allowance in samples, a call each; valid: 1. Nothing was taken"
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
    now, then = params.data.model_dump(), meta.get("data", {})
    changed = [key for key in then if key in now and key != "additions" and then[key] != now[key]]
    if changed:
        raise UserError(
            f"data.{changed[0]}: {now[changed[0]]!r}, but data/ was made with {then[changed[0]]!r}; run `dvc repro prepare` first"
        )

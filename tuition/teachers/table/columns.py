"""Which columns of a table hold what: `teacher.columns`, or the usual names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuition.errors import UserError, unknown
from tuition.params.bounds import AnswerColumns
from tuition.params.teacher import Form
from tuition.sources.columns import USUAL
from tuition.sources.readers import Table

Key = Literal["file", "id", "row"]
KEYS: dict[Key, tuple[str, ...]] = {  # in this order, in any case
    "file": USUAL["input"],
    "id": ("id", "ids", "content_id", "sha256"),
    "row": ("row", "index"),
}
ANSWERS: dict[Form, tuple[str, ...]] = {  # likewise
    "logits": ("answer", "logits", "scores"),
    "probabilities": ("answer", "probabilities", "probs", "scores"),
    "labels": ("answer", "label", "labels", "class", "prediction"),
    "top-k": ("answer", "top-k", "top_k", "probabilities", "scores"),
}


@dataclass(frozen=True)
class Chosen:
    """`key`: the column that says whose answer a row is, by `by`; `answers`: the one with the answer, or one for each class."""

    by: Key
    key: str
    answers: list[str]


def choose(table: Table, columns: AnswerColumns, form: Form, classes: Sequence[str]) -> Chosen:
    """The columns of a table with answers of this form. Raises UserError, with those that it has, for what is not there."""
    by, key = _key(table, columns)
    return Chosen(by, key, _answers(table, columns.answer, form, classes))


def _key(table: Table, columns: AnswerColumns) -> tuple[Key, str]:
    for by in KEYS:
        asked = getattr(columns, by)
        if asked is not None and asked not in table.columns:
            raise unknown(f"{table.where}: teacher.columns.{by}", asked, table.columns)
        if asked is not None:
            return by, asked
    for by, usual in KEYS.items():
        if (found := _usual(table, usual)) is not None:
            return by, found
    raise UserError(
        f"{table.where}: which column says whose answer a row is? Set teacher.columns to {{file: …}} (as data/train/files.csv names "
        f"it), {{id: …}} (its content id) or {{row: …}} (of data/train, from 0 on); found {', '.join(table.columns)}"
    )


def _answers(table: Table, asked: str | None, form: Form, classes: Sequence[str]) -> list[str]:
    if asked is not None:
        if asked not in table.columns:
            raise unknown(f"{table.where}: teacher.columns.answer", asked, table.columns)
        return [asked]
    named = [name for name in classes if name in table.columns]
    if form in ("logits", "probabilities") and len(named) == len(classes):
        return named
    if (found := _usual(table, ANSWERS[form])) is not None:
        return [found]
    lacking = [name for name in classes if name not in table.columns]
    some = f" (of the classes it lacks {', '.join(map(repr, lacking[:3]))})" if named else ""
    raise UserError(
        f"{table.where}: which column holds the answers, {form} (teacher.answers)? Set teacher.columns.answer, or give each class a "
        f"column of its name{some}; found {', '.join(table.columns)}"
    )


def _usual(table: Table, names: Sequence[str]) -> str | None:
    folded = {name.casefold(): name for name in reversed(table.columns)}
    return next((folded[name] for name in names if name in folded), None)

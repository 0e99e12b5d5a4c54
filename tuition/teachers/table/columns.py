"""Which columns of a table hold what: `teacher.columns`, or the usual names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuition.errors import UserError, unknown
from tuition.params.bounds import AnswerColumns
from tuition.params.teacher import Form
from tuition.sources.columns import USUAL
from tuition.sources.readers import Table
from tuition.sources.texts import USUAL as TEXTS

Key = Literal["file", "id", "row", "text"]
KEYS: dict[Key, tuple[str, ...]] = {  # in this order, in any case
    "file": USUAL["input"],
    "id": ("id", "ids", "content_id", "sha256"),
    "row": ("row", "index"),
    "text": TEXTS,
}
ANSWERS: dict[Form, tuple[str, ...]] = {  # likewise
    "logits": ("answer", "logits", "scores"),
    "probabilities": ("answer", "probabilities", "probs", "scores"),
    "labels": ("answer", "label", "labels", "class", "prediction"),
    "top-k": ("answer", "top-k", "top_k", "probabilities", "scores"),
    "embedding": ("answer", "embedding", "embeddings", "vector"),
}


@dataclass(frozen=True)
class Chosen:
    """`key`: the column that says whose answer a row is, by `by`; `answers`: the one with the answer, or one for each class."""

    by: Key
    key: str
    answers: list[str]


def choose(table: Table, columns: AnswerColumns, form: Form, classes: Sequence[str], texts: bool = False) -> Chosen:
    """The columns of a table with answers of this form, to `texts` or images. Raises UserError, with those that it has, for what is not
    there, and for a column with texts where samples are images."""
    by, key = _key(table, columns, texts)
    if by == "text" and not texts:
        raise UserError(
            f"{table.where}: teacher.columns.text: found {key!r}, but the samples are images; set file, id or row"
        )
    return Chosen(by, key, _answers(table, columns.answer, form, classes))


def _key(table: Table, columns: AnswerColumns, texts: bool) -> tuple[Key, str]:
    for by in KEYS:
        asked = getattr(columns, by)
        if asked is not None and asked not in table.columns:
            raise unknown(f"{table.where}: teacher.columns.{by}", asked, table.columns)
        if asked is not None:
            return by, asked
    # Texts have no files, and a table that repeats them often has numbers of its own in a column `id`.
    for by in ("text", "id", "row") if texts else ("file", "id", "row"):
        if (found := _usual(table, KEYS[by])) is not None:
            return by, found
    if texts:
        raise UserError(
            f"{table.where}: which column says whose answer a row is? Set teacher.columns to {{text: …}} (as it was given), {{id: …}} "
            f"(its content id) or {{row: …}} (of data/train, from 0 on); found {', '.join(table.columns)}"
        )
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
    if form == "embedding" and (only := _usual(table, ANSWERS[form])) is None:
        raise UserError(
            f"{table.where}: which column holds the embeddings, a list of numbers each? Set teacher.columns.answer; found "
            f"{', '.join(table.columns)}"
        )
    if form == "embedding":
        return [str(only)]
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

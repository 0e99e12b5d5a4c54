"""What the cells of rows say, as the rows of a signal. Of a CSV file every cell is text, of the others it may be a number or a list."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuition.params.teacher import Form
from tuition.targets import answers
from tuition.targets.answers import Classes, Faults, NoAnswer
from tuition.targets.classes import as_logits
from tuition.targets.embeddings import LEAST

WHOLE = re.compile(r"\d+(\.0*)?")
Row = Sequence[Any]  # the cells of one row's answer


class Cells:
    """Answers of one form, for data with these classes."""

    def __init__(self, form: Form, classes: Sequence[str], width: int = 0):
        """`width`: the numbers of an embedding, which `width_of` finds."""
        self.form, self.classes = form, Classes(classes)
        self.width, self.each = (width, "") if form == "embedding" else (len(classes), ", one for each class")
        self._exact = set(self.classes.names)
        self._numbered = any(WHOLE.fullmatch(name) for name in self.classes.names)

    def empty(self, count: int) -> np.ndarray:
        """Room for the answers of `count` samples. What is never written takes no memory."""
        if self.form == "labels":
            return np.empty(count, dtype=np.int64)
        return np.empty((count, self.width), dtype=np.float32)

    def read(self, rows: Sequence[Row]) -> tuple[np.ndarray, Faults]:
        """(answers (n, …), and by row why it is none)."""
        if self.form == "labels":
            return answers.labels([self._said(row[0]) for row in rows], len(rows), self.classes)
        found: list[Any] = []
        faults: Faults = {}
        for place, row in enumerate(rows):
            try:
                found.append(self._shares(row[0]) if self.form == "top-k" else self._scores(row))
            except NoAnswer as error:
                faults[place] = str(error)
                found.append(None if self.form == "top-k" else [np.nan] * self.width)
        if self.form == "top-k":
            logits, odd = answers.top_k(found, len(rows), self.classes)
            return logits, odd | faults
        scores = "logits" if self.form == "embedding" else self.form  # numbers as they are
        logits = as_logits(np.array(found, dtype=np.float64).reshape(len(rows), self.width), scores)
        for place in np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist():
            faults.setdefault(place, f"found {_shown(rows[place])}; expected {self.form}, all of them numbers")
        return logits, faults

    def _said(self, cell: Any) -> Any:
        """A whole number is the class that is called so; where no class is called by a number, it is an index."""
        text = str(cell).strip()
        if isinstance(cell, bool) or text in self._exact or not WHOLE.fullmatch(text):
            return text if text in self._exact else cell
        number = text.partition(".")[0]
        return number if self._numbered else int(number)

    def _shares(self, cell: Any) -> Any:
        said = _parsed(cell)
        if isinstance(said, Mapping):
            said = list(said.items())
        if not isinstance(said, list) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in said):
            raise NoAnswer(f"found {_shown(cell)}; expected {{class: probability}}, or pairs of them")
        return [(self._said(name), share) for name, share in said if share is not None]  # a struct names every class

    def _scores(self, row: Row) -> list[float]:
        said = _parsed(row[0]) if len(row) == 1 else row
        if not isinstance(said, Sequence) or isinstance(said, str) or len(said) != self.width:
            raise NoAnswer(f"found {_shown(said)}; expected {self.width} numbers{self.each}")
        try:
            return [float(one) for one in said]
        except (TypeError, ValueError):
            raise NoAnswer(f"found {_shown(said)}; expected {self.form}, all of them numbers") from None


def width_of(cell: Any) -> int:
    """The numbers of an embedding. Raises NoAnswer where it is no list of two and more."""
    said = _parsed(cell)
    if not isinstance(said, Sequence | np.ndarray) or isinstance(said, str) or len(said) < LEAST:
        raise NoAnswer(f"found {_shown(cell)}; expected an embedding: a list of numbers")
    return len(said)


def _parsed(cell: Any) -> Any:
    """A list or mapping, which a text holds as JSON."""
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise NoAnswer(f"found {_shown(cell)}, which is no JSON") from None


def _shown(said: Any) -> str:
    text = " ".join(repr(said).split())
    return text if len(text) <= 80 else f"{text[:80]}…"

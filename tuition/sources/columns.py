"""Which column of a table holds what: `data.columns`, or the usual names; and what labels and splits in it mean."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuition.errors import UserError, unknown
from tuition.params import Data
from tuition.sources.raw import UNKNOWN
from tuition.sources.readers import Table

USUAL = {  # in this order, in any case
    "input": ("image", "file_name", "filename", "file", "path", "filepath", "image_path", "img", "input"),
    "label": ("label", "labels", "class", "target"),
    "split": ("split",),
}
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
WHOLE = re.compile(r"[+-]?\d+(\.0*)?")  # libraries write whole numbers so where some are missing


@dataclass(frozen=True)
class Chosen:
    input: str  # of texts that are joined of several columns, the first
    label: str | None  # None: the table has no labels
    split: str | None  # None: all of it is train
    texts: tuple[str, ...] = ()  # the columns that make a text; none where samples are images

    @property
    def named(self) -> set[str]:
        return {self.input, *self.texts, *(one for one in (self.label, self.split) if one is not None)}


def choose(table: Table, data: Data) -> tuple[Chosen, list[str]]:
    """The columns of a table, and warnings. Raises UserError for a column that is not there, with those that are."""
    texts = data.columns.texts
    for name in texts:
        if name not in table.columns:
            raise unknown(f"{table.where}: data.columns.text", name, table.columns)
    found: dict[str, str | None] = {"input": texts[0]} if texts else {}
    warnings = []
    for role, usual in USUAL.items():
        if role in found:
            continue
        asked = getattr(data.columns, role)
        if asked is None:
            folded = {name.casefold(): name for name in reversed(table.columns)}
            found[role] = next((folded[name] for name in usual if name in folded), None)
        elif asked in table.columns:
            found[role] = asked
        elif role != "input" and data.evaluation is not None and data.source != data.evaluation:
            found[role] = None  # a pool beside a table whose column it is
            warnings.append(f"no column {asked!r} (data.columns.{role}); found {', '.join(table.columns)}")
        else:
            raise unknown(f"{table.where}: data.columns.{role}", asked, table.columns)
    given = found["input"]
    if given is None:
        raise UserError(
            f"{table.where}: which column holds the images? Set data.columns to {{input: …, label: …, split: …}}, or of texts to "
            f"{{text: …, label: …, split: …}}; found {', '.join(table.columns)}"
        )
    return Chosen(given, found["label"], found["split"], texts), warnings


@dataclass
class Labels:
    """The labels of a table's rows, as they come: a number for each text that was found."""

    where: str
    column: str
    codes: list[int] = field(default_factory=list)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)  # text -> its code, and the place of its first row
    trimmed: int = 0  # how many had white space around them
    first_trimmed: str = ""  # the first of those, and its place

    def add(self, value: Any, place: str) -> None:
        text = label_text(value, f"{place}: {self.column}")
        if text and isinstance(value, str) and text != value:
            self.trimmed += 1
            self.first_trimmed = self.first_trimmed or f"{value!r} ({place.removeprefix('data.source: ')})"
        self.codes.append(UNKNOWN if not text else self.first.setdefault(text, (len(self.first), place))[0])

    def warnings(self, classes: Sequence[str]) -> list[str]:
        """What a user may have meant otherwise: white space that was taken off, and classes whose names are nearly one."""
        said = f"{self.trimmed} labels are read without the white space around them, the first {self.first_trimmed}"
        return ([said] if self.trimmed else []) + alike(classes)

    def mapped(self, names: list[str] | None, classes: list[str] | None) -> tuple[np.ndarray, list[str]]:
        """Labels (N,) int64 and the classes' names: numbers in their order, else texts in theirs; UNKNOWN for an empty cell.

        `names`: what whole numbers stand for. `classes`: data.classes, which has them all. Of numbers −1 is no label.
        Raises UserError for a label that is none of those, and for numbers with fractions.
        """
        texts = list(self.first)
        whole = bool(texts) and all(WHOLE.fullmatch(text) for text in texts)
        called = {text: str(int(float(text))) if whole else text for text in texts}
        if whole:
            called = {text: "" if name == str(UNKNOWN) else name for text, name in called.items()}
        elif any(_fraction(text) for text in texts) and all(_number(text) for text in texts):
            text = next(text for text in texts if _fraction(text))
            raise UserError(f"{self.first[text][1]}: {self.column}: found {text}: classes are names or whole numbers")
        if names is not None and whole:
            for text, name in called.items():
                if name and int(name) >= len(names):
                    raise UserError(
                        f"{self.first[text][1]}: {self.column}: found {name}; valid: 0 to {len(names) - 1}, as its features say"
                    )
            called = {text: names[int(name)] if name else "" for text, name in called.items()}
        for text, name in called.items():
            if name and classes is not None and name not in classes:
                raise unknown(f"{self.first[text][1]}: {self.column}", name, classes, "data.classes lists them")
        present = {name for name in called.values() if name}
        ordered = names if names is not None else sorted(present, key=int if whole else str)
        place = {name: number for number, name in enumerate(ordered)} | {"": UNKNOWN}
        table = np.array([*(place[called[text]] for text in texts), UNKNOWN], np.int64)  # the last stands for UNKNOWN
        return table[np.array(self.codes, np.int64)], list(ordered)


def label_text(value: Any, place: str) -> str:
    """A cell's label as text, "" for none. Raises UserError where it holds several."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, list | dict | tuple):
        raise UserError(f"{place}: found {value!r}: several labels a sample are not supported")
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def class_of(value: Any, classes: Sequence[str], place: str) -> str:
    """The class that a cell names, or what it names where that is none of `classes`; "" for no label. Raises UserError as `label_text`."""
    text = label_text(value, place)
    whole = str(int(float(text))) if WHOLE.fullmatch(text) else text
    return text if text in classes else "" if whole == str(UNKNOWN) else whole


def alike(classes: Sequence[str]) -> list[str]:
    """A warning for classes whose names differ in case or spaces alone: they stay apart, and may be meant as one."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        found["".join(name.split()).casefold()].append(name)
    groups = [names for names in found.values() if len(names) > 1]
    if not groups:
        return []
    named = "; ".join(" and ".join(map(repr, names)) for names in groups[:3]) + ("; …" if len(groups) > 3 else "")
    return [
        f"classes that differ in case or spaces alone are classes of their own: {named}; mend the labels where one is meant"
    ]


def split_of(value: Any, place: str, column: str) -> str:
    """Which split a cell names. Raises UserError, with those there are."""
    name = SPLITS.get(str(value).strip().casefold()) if value is not None else None
    if name is None:
        raise unknown(f"{place}: {column}", "" if value is None else value, SPLITS)
    return name


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fraction(text: str) -> bool:
    return _number(text) and not WHOLE.fullmatch(text)

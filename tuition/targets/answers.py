"""From what a teacher says of a sample, a class or a few classes with scores, to numbers: an index, or logits of which some are unknown.

A class is named or numbered. **A text names a class** where it is its name, white space around it aside; or else where the two are
the same without case, without quotes around them and without punctuation behind them, and no other class's name is that too.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from tuition.targets.classes import FLOOR, TOLERANCE

ROUNDING = 0.01  # by how much the sum of rounded probabilities may miss 1
QUOTES, MARKS = "\"'`*“”‘’«»", ".,;:!?"
Faults = dict[int, str]  # by row: why it is no answer


class NoAnswer(ValueError):
    """What was said of one sample is no answer; the text says what it was."""


class Classes:
    """The names of the data's classes, by which what a teacher says is understood."""

    def __init__(self, names: Sequence[object]):
        self.names = [str(name) for name in names]
        self._exact = {name.strip(): place for place, name in enumerate(self.names)}
        self._plain: dict[str, list[int]] = {}
        for place, name in enumerate(self.names):
            self._plain.setdefault(_plain(name), []).append(place)

    def __len__(self) -> int:
        return len(self.names)

    def index(self, said: object) -> int:
        """The class that `said`, a name or an index, stands for. Raises NoAnswer where it is none, or may be several."""
        if isinstance(said, bytes):
            said = said.decode(errors="replace")
        if isinstance(said, str):
            return self._named(said)
        number = float(said) if isinstance(said, Real) and not isinstance(said, bool | np.bool_) else math.nan
        if not (number.is_integer() and 0 <= number < len(self)):
            raise NoAnswer(f"{_shown(said)} is no class; valid: a name, or an index from 0 to {len(self) - 1}")
        return int(number)

    def _named(self, said: str) -> int:
        if (place := self._exact.get(said.strip())) is not None:
            return place
        fitting = self._plain.get(_plain(said), [])
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise NoAnswer(
                f"{_shown(said)} may be any of {', '.join(repr(self.names[place]) for place in fitting)}: spell it so"
            )
        more = ", …" if len(self) > 12 else ""
        raise NoAnswer(f"{_shown(said)} is no class; valid: {', '.join(map(repr, self.names[:12]))}{more}")


def labels(said: object, count: int, classes: Classes) -> tuple[np.ndarray, Faults]:
    """A class for each of `count` samples -> (indices (count,) int64, faults); a row at fault has −1.

    Raises NoAnswer where these are not `count` classes.
    """
    rows = _rows(said, count, "a class")
    found, faults = np.full(count, -1, dtype=np.int64), {}
    for place, one in enumerate(rows):
        try:
            found[place] = classes.index(one)
        except NoAnswer as error:
            faults[place] = str(error)
    return found, faults


def top_k(said: object, count: int, classes: Classes) -> tuple[np.ndarray, Faults]:
    """Some classes of each of `count` samples with their probabilities, {class: p} or pairs (class, p), -> (logits (count, C) float32,
    faults): log p of the classes that are named, NaN of the others. A row at fault has NaN alone.

    Raises NoAnswer where these are not `count` rows.
    """
    rows = _rows(said, count, "{class: probability}")
    found, faults = np.full((count, len(classes)), np.nan, dtype=np.float32), {}
    for place, one in enumerate(rows):
        try:
            for index, share in shares(one, classes).items():
                found[place, index] = math.log(max(share, FLOOR))
        except NoAnswer as error:
            faults[place] = str(error)
    return found, faults


def shares(said: object, classes: Classes, rounding: float = ROUNDING) -> dict[int, float]:
    """The probabilities of the classes that one answer names, by index. Raises NoAnswer where they cannot be that; their sum may be
    too large, or of all classes too small, by `rounding`."""
    found: dict[int, float] = {}
    for named, score in _pairs(said):
        index = classes.index(named)
        if index in found:
            raise NoAnswer(f"{classes.names[index]!r} is named twice, in {_shown(said)}")
        if isinstance(score, bool) or not isinstance(score, Real) or not -TOLERANCE <= float(score) <= 1 + TOLERANCE:
            raise NoAnswer(f"{classes.names[index]!r} has {_shown(score)}; expected a probability, from 0 to 1")
        found[index] = min(max(float(score), 0.0), 1.0)
    total, whole = sum(found.values()), len(found) == len(classes)
    if not total or total > 1 + rounding or (whole and total < 1 - rounding):
        expected = "1" if whole else "more than 0 and at most 1"
        raise NoAnswer(f"the probabilities of {_shown(said)} sum to {total:g}; expected {expected}")
    return found


def _rows(said: object, count: int, each: str) -> list[object]:
    """The `count` rows of what was said; a column (count, 1) of numbers or text is one of rows."""
    if isinstance(said, np.ndarray) and said.shape == (count, 1):
        said = said[:, 0]
    if isinstance(said, str | bytes | Mapping) or not isinstance(said, Sequence | np.ndarray) or len(said) != count:
        raise NoAnswer(f"found {_shown(said)}; expected {each} for each of {count} samples")
    return list(said)


def _pairs(said: object) -> list[tuple[object, object]]:
    if isinstance(said, Mapping):
        pairs = list(said.items())
    else:
        listed = list(said) if isinstance(said, Sequence | np.ndarray) and not isinstance(said, str | bytes) else [said]
        if not all(
            isinstance(one, Sequence | np.ndarray) and not isinstance(one, str) and len(one) == 2 for one in listed
        ):
            raise NoAnswer(f"found {_shown(said)}; expected {{class: probability}}, or pairs of them")
        pairs = [(one[0], one[1]) for one in listed]  # type: ignore[index]
    if not pairs:
        raise NoAnswer("no class is named")
    return pairs


def _plain(text: str) -> str:
    """Without case, quotes around it and punctuation behind it; a name that is nothing else stays as it is."""
    folded = text.strip().casefold()
    return folded.strip(QUOTES).rstrip(MARKS).strip(QUOTES).strip() or folded


def _shown(said: object) -> str:
    text = " ".join(repr(said).split())
    return text if len(text) <= 200 else f"{text[:200]}…"

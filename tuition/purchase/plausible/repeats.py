"""How far a teacher repeats itself: answers to the same sample, held against one another. Nothing to stop for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuition.ledger.keys import Request
from tuition.purchase.plausible.evidence import Finding
from tuition.purchase.recheck import changes
from tuition.purchase.repeats import CHECK as NAME
from tuition.signals import CLASS


@dataclass(frozen=True)
class Measured:
    """Of `samples` with `answers` in all, two or more each: how many got the same answer to the bit each time, and the same class.

    `signal`: which was held against the sample's first answer, `largest_difference`: of logits of a probability, of classes 0 or 1, else
    relative (L2).
    """

    samples: int
    answers: int
    same_answer: int
    same_class: int | None
    signal: str
    largest_difference: float


def measure(requests: Sequence[Request], signals: Mapping[str, np.ndarray]) -> Measured | None:
    """Of answers {signal: (n, …)} to these requests; None where no sample (or view) has two."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, one in enumerate(requests):
        groups.setdefault((one.sample, one.view), []).append(row)
    several = [rows for rows in groups.values() if len(rows) > 1]
    signal = next((name for name in ("logits", CLASS, *sorted(signals)) if name in signals), None)
    if not several or signal is None:
        return None
    rows = np.array([rows[0] for rows in several for _ in rows[1:]])
    first = np.asarray(signals[signal][rows])
    other = np.asarray(signals[signal][np.array([row for rows in several for row in rows[1:]])])
    of = np.repeat(np.arange(len(several)), [len(rows) - 1 for rows in several])
    same = (np.nan_to_num(first) == np.nan_to_num(other)).reshape(len(of), -1).all(1)
    named = [] if signal not in ("logits", CLASS) else [_class_of(one, signal) for one in (first, other)]
    return Measured(
        samples=len(several),
        answers=len(several) + len(of),
        same_answer=_all_of(of, same, len(several)),
        same_class=_all_of(of, np.equal(*named), len(several)) if named else None,
        signal=signal,
        largest_difference=float(changes(first, other, signal).max()),
    )


def _class_of(values: np.ndarray, signal: str) -> np.ndarray:
    """The class (n,) that each row of logits or classes names."""
    return values if signal == CLASS else np.nan_to_num(values, nan=-np.inf).argmax(-1)


def check(measured: Measured | None) -> Finding:
    """Tell of it."""
    if measured is None:
        return Finding(NAME, "skipped", "no sample was asked for twice")
    asked = _asked(measured)
    if measured.same_answer == measured.samples:
        return Finding(NAME, "passed", f"{asked}: the same answer to the bit each time")
    unit = "of a probability" if measured.signal == "logits" else f"of {measured.signal!r}"
    largest = (
        "" if measured.signal == CLASS else f"; the largest difference {unit} is {measured.largest_difference:.2g}"
    )
    return Finding(NAME, "noted", f"{asked}: {_differing(measured)}{largest}")


def _asked(measured: Measured) -> str:
    if measured.samples > 1:
        return f"{measured.samples} samples were asked for {measured.answers} times in all"
    return "1 sample was asked for " + ("twice" if measured.answers == 2 else f"{measured.answers} times")


def _differing(measured: Measured) -> str:
    """How answers that are not all the same differ."""
    same = measured.same_class
    if measured.samples == 1:
        return "other answers each time" if same is None else "the same class" if same else "another class"
    exact = f"{measured.same_answer} got the same answer to the bit each time"
    if measured.signal == CLASS:
        return f"{same} got the same class each time"
    return exact if same is None else f"{exact}, {same} the same class"


def _all_of(of: np.ndarray, holds: np.ndarray, number: int) -> int:
    """In how many of `number` groups every member holds; `of` (n,) says whose member each is."""
    return number - len(np.unique(of[~holds]))

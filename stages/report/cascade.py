"""The cascade: the student answers what it is sure of and hands the rest on to the teacher. Arrays only: no files, no torch.

Sureness is the student's largest probability. A threshold is chosen on other samples than those that its figures are of, and on none
that the student was trained on or chosen by: those flatter it, and a promise made on them would not hold.
"""

from dataclasses import dataclass
from math import ceil, log

import numpy as np

STEPS = 20  # shares handed on: 0, 5, …, 100 %
PROMISES = (0.95, 0.98, 0.99)
RISK = 0.05  # that a promise does not hold on like samples


@dataclass(frozen=True)
class Answers:
    """A student's largest probabilities (N,) float64, and whether its answers are right (N,) bool."""

    confidence: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.right)


@dataclass(frozen=True)
class Promise:
    """At most 1 − `share` of all answers are wrong ones that the student kept: hand on what is less sure than `threshold`.

    What came of it on other samples: the share `handed` on, and the number of `kept_wrong` answers among all those `tried`.
    """

    share: float
    threshold: float
    handed: float
    kept_wrong: int
    tried: int


def answers(logits: np.ndarray, wanted: np.ndarray) -> Answers:
    """Of logits (N, C) and the classes (N,) that are right; samples whose class isn't known (−1) are left out."""
    known = np.asarray(wanted) >= 0
    values = np.asarray(logits, dtype=np.float64)[known]
    if not len(values):
        return Answers(np.zeros(0), np.zeros(0, bool))
    values = values - values.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(values).sum(axis=1)
    return Answers(confidence, values.argmax(axis=1) == np.asarray(wanted)[known])


def curve(student: Answers, teacher: float) -> list[tuple[float, float, float]]:
    """(share handed on, share of right answers in all, share of right ones among the kept) at 0, 5, …, 100 % handed on.

    `teacher` is the teacher's own share of right answers, taken to be the same on what it is handed.
    """
    order = np.argsort(student.confidence, kind="stable")
    right = student.right[order]
    found = []
    for step in range(STEPS + 1):
        handed = round(step * len(right) / STEPS)
        kept = right[handed:]
        total = (kept.sum() + handed * teacher) / max(len(right), 1)
        found.append((step / STEPS, float(total), float(kept.mean()) if len(kept) else 1.0))
    return found


def promise(chosen_on: Answers, tried_on: Answers, share: float) -> Promise | None:
    """The lowest threshold that keeps the promise on like samples, but for a risk of 5 %; None where too few answers show it.

    Thresholds are tried from the one that hands nearly all on downwards, until Clopper and Pearson's upper limit (1934) of the kept
    wrong answers first exceeds 1 − share. A fixed order of tests needs no correction for their number (Angelopoulos et al. 2021,
    "Learn then Test").
    """
    from scipy.special import betaincinv

    n = len(chosen_on)
    if not n or not len(tried_on):
        return None
    order = np.argsort(-chosen_on.confidence, kind="stable")
    wrong = np.cumsum(~chosen_on.right[order])
    best = None
    for step in range(1, STEPS * 5 + 1):
        kept = round(step * n / (STEPS * 5))
        if not kept:
            continue
        threshold = float(chosen_on.confidence[order[kept - 1]])
        count = int(wrong[np.searchsorted(-chosen_on.confidence[order], -threshold, side="right") - 1])
        upper = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - RISK))
        if upper > 1 - share:
            break
        best = threshold
    if best is None:
        return None
    kept_there = tried_on.confidence >= best
    return Promise(share, best, float(1 - kept_there.mean()), int((kept_there & ~tried_on.right).sum()), len(tried_on))


def fewest(share: float) -> int:
    """Samples to choose on, below which not even a student without any error shows that it keeps the promise."""
    return ceil(log(RISK) / log(share))


def halves(student: Answers) -> tuple[Answers, Answers]:
    """Every other sample of a shuffled order: one half to choose on, one to try on. Files often lie in an order of their own."""
    order = np.random.default_rng(0).permutation(len(student))
    student = Answers(student.confidence[order], student.right[order])
    return tuple(Answers(student.confidence[i::2], student.right[i::2]) for i in (0, 1))  # type: ignore[return-value]

"""What the checks look at: answers, each with its sample and, where it is known, its label; and what a check finds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

State = Literal["passed", "failed", "noted", "skipped", "unchecked"]  # noted: to be known, and no reason to stop


@dataclass(frozen=True)
class Finding:
    """What a check found. `undecided`: more answers would tell."""

    name: str
    state: State
    found: str
    advice: str = ""
    undecided: bool = False

    def as_json(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if name != "undecided"}


@dataclass(frozen=True)
class Evidence:
    """Answers to n samples.

    `samples`: content ids, one for each row. `labels` (n,) int64, −1 where unknown. `scores` (n, C), NaN where unknown, as logits, or None
    where the teacher gives none. `top` (n,): the class that each answer names, −1 where it names none. `values` (n, d): the rows
    that are told apart to the bit. `hard`: an answer is one class and nothing else. `promised`: what `teacher.scores` says of them.
    `embeddings`: `values` are embeddings, and nothing else was answered.
    """

    samples: Sequence[str]
    classes: Sequence[str]
    labels: np.ndarray
    values: np.ndarray
    top: np.ndarray
    scores: np.ndarray | None
    hard: bool
    promised: str
    embeddings: bool = False

    @cached_property
    def distinct(self) -> np.ndarray:
        """The first row of each sample: its other views tell nothing of other samples."""
        first: dict[str, int] = {}
        for row, sample in enumerate(self.samples):
            first.setdefault(sample, row)
        return np.array(list(first.values()), dtype=np.int64)

    def of(self, rows: np.ndarray) -> "Evidence":
        """These rows alone."""
        return replace(
            self,
            samples=[self.samples[row] for row in rows],
            labels=self.labels[rows],
            values=self.values[rows],
            top=self.top[rows],
            scores=None if self.scores is None else self.scores[rows],
        )


def evidence_of(
    samples: Sequence[str],
    signals: Mapping[str, np.ndarray],
    classes: Sequence[str],
    labels: Mapping[str, int],
    promised: str,
) -> Evidence:
    """The evidence of answers {signal: (n, …)} to these samples (content ids, one a row); `labels` holds known labels by sample."""
    known = np.array([labels.get(sample, -1) for sample in samples], dtype=np.int64)
    scores = signals.get("logits")
    scores = None if scores is None else np.asarray(scores, dtype=np.float64).reshape(len(samples), -1)
    named = signals.get("label")
    if scores is not None:
        known_scores = np.where(np.isnan(scores), -np.inf, scores)
        top = np.where(np.isneginf(known_scores).all(1), -1, known_scores.argmax(1))
        values = scores
    elif named is not None:
        top = np.asarray(named, dtype=np.int64).reshape(len(samples))
        values = top[:, None].astype(np.float64)
    else:
        top = np.full(len(samples), -1)
        first = next(iter(sorted(signals)), None)
        values = np.zeros((len(samples), 0)) if first is None else np.asarray(signals[first], dtype=np.float64)
        values = values.reshape(len(samples), -1)
    hard, embeddings = scores is None and named is not None, list(signals) == ["embedding"]
    return Evidence(samples, classes, known, values, top, scores, hard, promised, embeddings)

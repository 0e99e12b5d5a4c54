"""Whether the teacher agrees with the labels better than chance, where bought samples have labels.

A teacher may be weak, labels may be wrong by half, classes may be uneven: so it is a test, not a threshold. Answers are

- *better than chance* where a binomial test against the agreement that unrelated labels and answers of these frequencies would have says
  so (p < 0.01);
- *in another order* where classes matched on half of the samples foretell the answers to the other half (p < 10⁻⁴);
- *no better than chance* where a teacher that agrees with two samples for each that chance would (at least 5 %, at most 50 %) would agree
  with so few once in a thousand times.

Anything else is undecided, and more answers tell. With two classes of which half of the labels are wrong a right teacher agrees as chance
does. It must agree with fewer than it would once in ten thousand times to be stopped: as it is looked at up to eight times, that befalls
fewer than one of a thousand purchases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from tuition.purchase.plausible.evidence import Evidence, Finding

NAME = "labels"
BETTER, ORDER, WORSE = 0.01, 1e-4, 1e-3  # the error that each of the three verdicts may have
RARE = 1e-4  # in place of WORSE, of two to four classes, where the weakest teacher is hardly better than chance
LEAST, MOST = 0.05, 0.5  # agreement of a teacher that is right, however weak
ROWS = 2000  # on which an order is fitted
SHOWN = 26  # classes that are listed one by one


@dataclass(frozen=True)
class Fit:
    """Another order of classes. `order` (C,): the teacher's class for each of the data's; `hits` of `rows` answers would then agree."""

    order: np.ndarray
    hits: int
    rows: int
    p: float  # of the half that it was not fitted on, were there no order


def check(evidence: Evidence) -> Finding:
    """Hold the classes that answers name against the labels."""
    rows = evidence.distinct
    rows = rows[(evidence.labels[rows] >= 0) & (evidence.top[rows] >= 0)]
    labels, answers, classes = evidence.labels[rows], evidence.top[rows], len(evidence.classes)
    number = len(rows)
    if not number or classes < 2:
        return Finding(NAME, "skipped", "no bought sample has a label")
    agree, chance = int((labels == answers).sum()), by_chance(labels, answers, classes)
    found = f"{agree} of {number} answers agree with the labels, {chance * number:.1f} would by chance"
    if binom.sf(agree - 1, number, chance) < BETTER:
        return Finding(NAME, "passed", found)
    fit = fit_order(labels[:ROWS], answers[:ROWS], classes)
    weak = min(MOST, max(LEAST, 2 / classes))
    worse = WORSE if weak < MOST else RARE
    if fit.p < ORDER or binom.cdf(agree, number, weak) < worse:
        return _failed(found, fit, evidence.classes)
    return Finding(NAME, "skipped", f"{found}: too few to tell", undecided=True)


def by_chance(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """The share on which unrelated labels and answers of these frequencies agree."""
    shares = [np.bincount(one, minlength=classes) / len(one) for one in (labels, answers)]
    return min(1.0, float(shares[0] @ shares[1]))


def fit_order(labels: np.ndarray, answers: np.ndarray, classes: int) -> Fit:
    """The order of classes that fits best, and how surely: matched on every second sample of a class, it is tried on the others."""
    first = every_second(labels)
    half = matched(labels[first], answers[first])
    tried = [(label, answer) for label, answer in zip(labels[~first], answers[~first], strict=True) if label in half]
    frequency = np.bincount(answers, minlength=classes) / max(1, len(answers))
    p = 1.0
    if tried:
        chance = float(np.mean([frequency[half[label]] for label, _ in tried]))
        hits = sum(half[label] == answer for label, answer in tried)
        p = float(binom.sf(hits - 1, len(tried), min(1.0, chance)))
    whole = matched(labels, answers)
    free = iter(sorted(set(range(classes)) - set(whole.values())))
    order = np.array([whole[label] if label in whole else next(free) for label in range(classes)])
    return Fit(order, int((order[labels] == answers).sum()), len(labels), p)


def every_second(labels: np.ndarray) -> np.ndarray:
    """Which samples (n,) are the first, third, fifth … of their class."""
    seen: dict[int, int] = {}
    chosen = np.zeros(len(labels), dtype=bool)
    for row, label in enumerate(labels.tolist()):
        chosen[row] = seen.get(label, 0) % 2 == 0
        seen[label] = seen.get(label, 0) + 1
    return chosen


def matched(labels: np.ndarray, answers: np.ndarray) -> dict[int, int]:
    """The answer's class for each label's, one to one, so that most samples fit; classes without a sample in common are left out."""
    rows, at = np.unique(labels, return_inverse=True)
    columns, of = np.unique(answers, return_inverse=True)
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    np.add.at(counts, (at, of), 1)
    pairs = zip(*linear_sum_assignment(counts, maximize=True), strict=True)
    return {int(rows[row]): int(columns[column]) for row, column in pairs if counts[row, column]}


def _failed(found: str, fit: Fit, classes: Sequence[str]) -> Finding:
    advice = "see that the teacher's classes are the data's, in the data's order"
    if fit.p < BETTER and 2 * fit.hits > fit.rows:
        found = f"{found}. With the teacher's classes in another order {fit.hits} of {fit.rows} would: {_words(fit.order, classes)}"
        advice = "give the scores in the data's order of classes, as above"
    return Finding(NAME, "failed", f"no better than chance: {found}", f"{advice}, and set another teacher.version")


def _words(order: np.ndarray, classes: Sequence[str]) -> str:
    """An order in words: all of it as an index, or the first of many classes."""
    if len(order) <= SHOWN:
        return f"scores[:, {order.tolist()}] in the data's order ({', '.join(map(str, classes))})"
    other = [place for place in range(len(order)) if order[place] != place][:SHOWN]
    return ", ".join(f"{classes[order[one]]!r} for {classes[one]!r}" for one in other) + ", …"

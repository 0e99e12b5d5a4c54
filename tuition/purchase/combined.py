"""Several answers to one sample made one: the mean of probabilities, the share of votes, the mean of anything else.

Where k answers name classes, a class with v votes of C classes gets the logit log((v + 1/C) / (k + 1)): the vote of one more answer, spread
evenly, keeps a class that nobody named possible. `label` is the class with most votes; of several, the one that was named first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tuition.ledger import owned
from tuition.ledger.keys import Request
from tuition.purchase.account import Account
from tuition.signals import CLASS, stored_type
from tuition.targets.classes import FLOOR, complete, probabilities


class Answers(NamedTuple):
    """Answers {signal: (n, …)} to requests (n,), and what each cost (n,) int64, in millionths."""

    requests: list[Request]
    signals: dict[str, np.ndarray]
    costs: np.ndarray


def read(account: Account, requests: Sequence[Request]) -> Answers:
    """What is owned of `requests` with all that the teacher gives, in the data's order of classes."""
    places, signals, costs = owned.read(account.ledger, account.id, requests, signals=account.teacher.signals)
    return Answers([requests[place] for place in places], account.as_data(signals), costs)


def only(answers: Answers, repeat: int) -> Answers:
    """The answers with this number (`Request.repeat`), those of rounds that ask again left out."""
    return _rows(answers, [row for row, one in enumerate(answers.requests) if not one.round and one.repeat == repeat])


def combine(answers: Answers, times: int, classes: int) -> Answers:
    """A row for each sample (or view) with an answer, made of the first `times`, in the order in which they stand; rounds that ask again
    are left out. Its request is that for the first answer.

    A sample some of whose answers are lacking has what is made of the others.
    """
    if times == 1:
        return only(answers, 0)
    rows = [row for row, one in enumerate(answers.requests) if not one.round and one.repeat < times]
    firsts = list(dict.fromkeys(answers.requests[row].repeated(0) for row in rows))
    place = {one: at for at, one in enumerate(firsts)}
    of = np.array([place[answers.requests[row].repeated(0)] for row in rows], dtype=np.int64)
    signals = {name: _one(name, values[rows], of, len(firsts)) for name, values in answers.signals.items()}
    if CLASS in signals and "logits" not in signals:
        signals["logits"] = vote_logits(_votes(answers.signals[CLASS][rows], of, len(firsts), classes))
    costs = np.zeros(len(firsts), dtype=np.int64)
    np.add.at(costs, of, answers.costs[rows])
    return Answers(firsts, signals, costs)


def _rows(answers: Answers, rows: list[int]) -> Answers:
    """These rows alone."""
    if len(rows) == len(answers.requests):  # mostly: arrays may be large
        return answers
    signals = {name: values[rows] for name, values in answers.signals.items()}
    return Answers([answers.requests[row] for row in rows], signals, answers.costs[rows])


def vote_logits(votes: np.ndarray) -> np.ndarray:
    """Votes (n, C) -> logits (n, C) float32: log((v + 1/C) / (k + 1)) of v votes of the row's k."""
    share = (votes + 1 / votes.shape[1]) / (votes.sum(1, keepdims=True) + 1)
    return np.log(share).astype(np.float32)


def _one(name: str, values: np.ndarray, of: np.ndarray, number: int) -> np.ndarray:
    """A signal's rows (m, …), of which each belongs to the row `of` (m,) of `number`, made one a row."""
    first = np.unique(of, return_index=True)[1]
    if name == CLASS:
        return _most_named(values, of, number)
    if not np.issubdtype(values.dtype, np.floating):  # such as bits: no mean of these is one
        return values[first]
    if name == "logits":
        return _mean_logits(values, of, number)
    return _mean(values, of, number).astype(stored_type(name))


def _mean(values: np.ndarray, of: np.ndarray, number: int) -> np.ndarray:
    total = np.zeros((number, *values.shape[1:]))
    np.add.at(total, of, values.astype(np.float64))
    return total / np.bincount(of, minlength=number).reshape(-1, *[1] * (values.ndim - 1))


def _mean_logits(logits: np.ndarray, of: np.ndarray, number: int) -> np.ndarray:
    """The logarithm of the mean of probabilities; of a class that no answer knows NaN."""
    known = ~np.isnan(logits)
    whole = known.all(1, keepdims=True)  # else they are logarithms of probabilities already
    shares = np.where(whole, probabilities(logits), np.exp(np.minimum(complete(logits).astype(np.float64), 0)))
    known_by_any = np.zeros((number, logits.shape[1]), dtype=bool)
    np.logical_or.at(known_by_any, of, known)
    mean = np.log(np.maximum(_mean(shares, of, number), FLOOR))
    return np.where(known_by_any, mean, np.nan).astype(np.float32)


def _votes(labels: np.ndarray, of: np.ndarray, number: int, classes: int) -> np.ndarray:
    votes = np.zeros((number, classes))
    np.add.at(votes, (of, labels.astype(np.int64)), 1)
    return votes


def _most_named(labels: np.ndarray, of: np.ndarray, number: int) -> np.ndarray:
    votes = _votes(labels, of, number, int(labels.max(initial=0)) + 1)
    named = votes[of, labels.astype(np.int64)] == votes.max(1)[of]  # answers whose class has most votes
    rows = np.flatnonzero(named)
    first = np.unique(of[rows], return_index=True)[1]
    return labels[rows[first]]

"""Answers of the ledger with a price, for the tests of it."""

from collections.abc import Iterable
from dataclasses import replace

from tuition.ledger.calls import Answer
from tuition.ledger.spending import to_micros


def at_cost(answers: Iterable[Answer], cost: float) -> list[Answer]:
    """The answers, each of which came to `cost`, where it says nothing itself."""
    return [answer if answer.cost is not None else replace(answer, cost=to_micros(cost)) for answer in answers]

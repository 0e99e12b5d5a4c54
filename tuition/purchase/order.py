"""What one teacher is asked for, as a value: requests in the order of purchase, and those that ask again."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuition.errors import UserError
from tuition.ledger import accounts
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.ledger.spending import Amount
from tuition.params.bounds import Price
from tuition.params.teacher import TeacherSettings
from tuition.purchase import recheck
from tuition.purchase.account import Account, worst
from tuition.purchase.repeats import ONCE, Repeats


@dataclass(frozen=True)
class Order:
    """`requests` in the order of purchase, those of `repeats` among them, `rounds` of them (`recheck`), and beside them `mixed`: those for
    mixed inputs, and `evaluation`: those for samples of val and test."""

    requests: tuple[Request, ...]
    rounds: tuple[recheck.Round, ...]
    mixed: tuple[Request, ...] = ()
    evaluation: tuple[Request, ...] = ()
    repeats: Repeats = ONCE

    @property
    def again(self) -> tuple[Request, ...]:
        """The requests that ask again."""
        return tuple(request for one in self.rounds for request in one.again)

    @property
    def all(self) -> tuple[Request, ...]:
        """Every request, each once."""
        return (*self.requests, *self.again, *self.mixed, *self.evaluation)

    def most_calls(self, idempotent: bool) -> int:
        """The number of most calls that it may take: an idempotent teacher may be asked for further signals of what is owned."""
        once = len(self.requests) + len(self.mixed) + len(self.evaluation)
        return once * (2 if idempotent else 1) + len(self.again)


def make_order(
    samples: Sequence[Request],
    budget: int,
    settings: TeacherSettings,
    repeats: Repeats,
    mixed: Sequence[Request] = (),
    evaluation: Sequence[Request] = (),
) -> Order:
    """What `budget` calls buy of `samples` (or views), which are in the order of purchase; the others come beside them."""
    chosen = tuple(samples[: samples_for(budget, settings, repeats)])
    requests = repeats.requests(chosen, settings.canary)
    rounds = recheck.plan_rounds(requests, budget, settings.recheck)
    held_out = Repeats(repeats.times).requests(evaluation, settings.canary)
    return Order(requests, rounds, tuple(mixed), held_out, repeats)


def samples_for(budget: int, settings: TeacherSettings, repeats: Repeats) -> int:
    """How many samples (or views) a budget of so many calls buys, beside what is asked for again."""
    return repeats.samples_for(recheck.samples_for(budget, settings.recheck))


@dataclass(frozen=True)
class Missing:
    """What is to be bought: requests that are not owned, and for what is owned without some signals, requests for these."""

    new: tuple[Request, ...]
    further: tuple[Request, ...]


def missing(account: Account, requests: Sequence[Request], standing: Standing) -> Missing:
    """What is to be bought of `requests`, as they stand. Requests whose calls were charged or are unknown are among the new ones."""
    signals = set(account.teacher.signals)
    new = tuple(one for one in requests if standing.state(one) != "owned")
    lacking = [(one, signals - standing.signals(one)) for one in requests if standing.state(one) == "owned"]
    return Missing(new, tuple(one.further(names) for one, names in lacking if names))


def check(account: Account, order: Order, standing: Standing) -> None:
    """Refuse, before anything is sent, what does not fit the teacher's cap, or would pay twice for owned samples.

    `standing` is that of `order.all`, and of the requests for further signals. Further signals of owned samples are bought only where
    asking again is free: an idempotent teacher without a price.
    """
    of_order = missing(account, [*order.requests, *order.mixed, *order.evaluation], standing)
    further = [one for one in of_order.further if standing.state(one) is None]
    if further and not (account.teacher.idempotent and account.settings.price == Price()):
        have = standing.signals(further[0]._replace(signals=()))
        raise UserError(
            f"teacher: offers {', '.join(account.teacher.signals)}, but {len(further)} samples are owned with "
            f"{', '.join(sorted(have))} alone, and asking again may be charged. Nothing was sent. Offer no more than these "
            "signals, or change teacher.version: then it is another teacher, whose outputs are bought anew"
        )
    _check_cap(account, sum(standing.state(one) is None for one in (*of_order.new, *of_order.further, *order.again)))


def _check_cap(account: Account, number: int) -> None:
    """Raises UserError where so many new calls do not fit the bounds of the teacher's life."""
    teacher = accounts.find(account.ledger, account.fingerprint)
    life, each = account.caps.life, worst(account.settings)
    if account.settings.price.of_tokens:  # then a call may come to less
        each = Amount(1)
    for unit, key, spent in (("calls", "cap", teacher.spent), ("cost", "cap.money", teacher.spent_cost)):
        limit, one = getattr(life, unit), getattr(each, unit)
        if limit is not None and number and spent + number * one > limit:
            scale, words = (1e6, "") if unit == "cost" else (1, " calls")
            raise UserError(
                f"teacher.{key}: {limit / scale:g}{words} in the teacher's life, {spent / scale:g} are spent and this budget needs "
                f"{number * one / scale:g} more. Nothing was sent. Raise teacher.{key} or lower study.budgets"
            )

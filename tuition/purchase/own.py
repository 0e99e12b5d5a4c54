"""Owning what an order asks for: new samples, further signals of samples that are owned without them, and answers asked for again."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tuition.ledger import owned
from tuition.ledger.database import Ledger
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.params.teacher import TeacherSettings
from tuition.purchase import recheck, unchanged
from tuition.purchase.account import Account, Known, open_account
from tuition.purchase.ended import interrupted_in_words
from tuition.purchase.loop import Outcome, buy
from tuition.purchase.order import Order, check, missing
from tuition.purchase.plausible.watch import MOST
from tuition.purchase.progress import bar
from tuition.purchase.reserver import InputsOf
from tuition.teachers import Teacher


@dataclass(frozen=True)
class OpenOrder:
    """An order, the account that pays for it, and how its requests stood before anything was bought."""

    account: Account
    order: Order
    before: Standing

    @property
    def buys(self) -> bool:
        """Whether it was to buy anything."""
        lacking = missing(self.account, self.order.all, self.before)
        return bool(lacking.new or lacking.further)

    def read_standing(self) -> Standing:
        """How its requests stand now."""
        return read_standing(self.account, self.order)


def open_order(ledger: Ledger, teacher: Teacher, settings: TeacherSettings, known: Known, order: Order) -> OpenOrder:
    """Open the account for an order. Raises UserError, before anything is sent, where the order cannot be bought as a whole."""
    most = order.most_calls(teacher.idempotent)
    account = open_account(ledger, teacher, settings, len(known.classes), most, known)
    before = read_standing(account, order)
    check(account, order, before)
    unchanged.check(account, [one for one in order.all if before.state(one) == "owned"])
    return OpenOrder(account, order, before)


def read_standing(account: Account, order: Order) -> Standing:
    """How the requests of an order stand, with those for further signals of what is owned, where signals are lacking."""
    standing = owned.standing(account.ledger, account.id, order.all)
    further = missing(account, [*order.requests, *order.mixed, *order.evaluation], standing).further
    if not further:
        return standing
    of_further = owned.standing(account.ledger, account.id, further)
    return Standing({**standing.positions, **of_further.positions})


def own_in_rounds(open_order: OpenOrder, inputs_of: InputsOf, title: str) -> int:
    """Own the requests of an order, asking the first ones again where its rounds say so; returns how many new calls that took.

    Raises UserError where the teacher drifted.
    """
    account, order, before = open_order.account, open_order.order, open_order.before
    new = begin = 0
    for one in order.rounds:
        if one.again:
            new += _buy(account, one.again, before, inputs_of, f"{title}: round {one.number}").new
            recheck.check(account, one.again)
        new += own(account, order.requests[begin : one.until], before, inputs_of, title)
        begin = one.until
    return new


def own(account: Account, requests: Sequence[Request], standing: Standing, inputs_of: InputsOf, title: str) -> int:
    """Buy what is missing of `requests`, as they stand; returns how many new calls that took."""
    lacking = missing(account, requests, standing)
    before = [one for one in requests if standing.state(one) == "owned" and not one.round][:MOST]
    outcome = _buy(account, lacking.new, standing, inputs_of, title, before=before)
    new, further = outcome.new, lacking.further
    if outcome.by_others:  # perhaps with fewer signals
        standing = read_standing(account, Order(tuple(requests), ()))
        further = missing(account, requests, standing).further
    if further:
        check(account, Order(tuple(requests), ()), standing)
    for signals, some in groupby(sorted(further, key=lambda one: one.signals), key=lambda one: one.signals):
        new += _buy(account, list(some), standing, inputs_of, f"{title}: {', '.join(signals)}", signals).new
    return new


def _buy(
    account: Account,
    requests: Sequence[Request],
    standing: Standing,
    inputs_of: InputsOf,
    title: str,
    signals: Sequence[str] | None = None,
    before: Sequence[Request] = (),
) -> Outcome:
    try:
        with bar(title, account) as progress:
            return buy(account, requests, standing, inputs_of, progress, signals, before)
    except (KeyboardInterrupt, SystemExit):
        print(f"{title}: interrupted; {interrupted_in_words(account, requests, standing)}", file=sys.stderr, flush=True)
        raise

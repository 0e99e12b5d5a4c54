"""A teacher's account in the ledger: who is asked, at what price, within which bounds."""

from dataclasses import dataclass
from typing import Any

from stages.errors import UserError
from stages.ledger import accounts, calls
from stages.ledger.database import Ledger
from stages.ledger.spending import Amount, Bound, Caps, to_micros
from stages.sections import Amounts, Teacher
from stages.teach.teachers import fingerprint


@dataclass(frozen=True)
class Account:
    """A teacher's account with its settings, and the run of this process that spends from it."""

    ledger: Ledger
    id: int
    run: int
    fingerprint: str
    teacher: Any  # teachers.Teacher or client.HttpTeacher
    settings: Teacher
    classes: int

    @property
    def caps(self) -> Caps:
        return caps_of(self.settings)


def open_account(ledger: Ledger, teacher: Any, settings: Teacher, classes: int, budget: int) -> Account:
    """The account of `teacher`, opened where there is none, with a run of this process that may make `budget` calls.

    Calls of dead processes that were never sent are given back.
    """
    check_price(settings)
    mark = fingerprint(teacher.description)
    id = accounts.open_account(ledger, mark, settings.name, teacher.description, caps_of(settings))
    run = calls.start_run(ledger, id, budget, bound_of(settings.cap.run))
    return Account(ledger, id, run, mark, teacher, settings, classes)


def caps_of(settings: Teacher) -> Caps:
    """The bounds on the teacher's life and on each period, as the ledger takes them."""
    return Caps(bound_of(settings.cap), bound_of(settings.cap.period), settings.cap.period.every)


def bound_of(amounts: Amounts) -> Bound:
    return Bound(amounts.calls, amounts.tokens, None if amounts.money is None else to_micros(amounts.money))


def worst(settings: Teacher) -> Amount:
    """The most that one call may come to: what is reserved for it."""
    tokens, price = settings.max_tokens_per_call or 0, settings.price
    return Amount(1, tokens, to_micros(price.call + tokens * max(price.input, price.output) / 1e6))


def real(settings: Teacher, tokens: int, input_tokens: int, output_tokens: int) -> Amount:
    """What one call came to, by the tokens that the server says it charged."""
    price = settings.price
    return Amount(1, tokens, to_micros(price.call + (input_tokens * price.input + output_tokens * price.output) / 1e6))


def check_price(settings: Teacher) -> None:
    """Raises UserError where a bound is set on what is not known: money without a price, tokens without the most a call may take."""
    cap, price = settings.cap, settings.price
    for name, one in (("cap", cap), ("cap.run", cap.run), ("cap.period", cap.period)):
        if one.money is not None and price.call == 0 and not price.of_tokens:
            raise UserError(
                f"teacher.{name}.money: {one.money:g}, but teacher.price is 0: a bound on money needs the price, money a call "
                "(price: 0.002) or a million tokens (price: {input: 0.15, output: 0.6}). Nothing was sent"
            )
        of_tokens = one.tokens is not None or (one.money is not None and price.of_tokens)
        if of_tokens and settings.max_tokens_per_call is None:
            key = "tokens" if one.tokens is not None else "money"
            raise UserError(
                f"teacher.{name}.{key}: set, but teacher.max_tokens_per_call is null: name the most tokens (question and answer) that a "
                "call may take; so much is held back for a call until its answer says what it took. Nothing was sent"
            )

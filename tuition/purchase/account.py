"""A teacher's account in the ledger: who is asked, at what price, within which bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache
from numbers import Integral

import numpy as np

from tuition.errors import UserError
from tuition.ledger import accounts, calls
from tuition.ledger import classes as class_names
from tuition.ledger.database import Ledger
from tuition.ledger.spending import Amount, Bound, Caps, to_micros
from tuition.params.bounds import Amounts, Price
from tuition.params.teacher import TeacherSettings
from tuition.purchase.text import say
from tuition.teachers import Teacher, fingerprint

MOST_TOKENS = 10**12  # that a server may say of a request; what is above is no count of tokens


@dataclass(frozen=True)
class Known:
    """What the data says of samples, as far as it is known: the classes in the data's order, and labels by content id."""

    classes: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Account:
    """A teacher's account with its settings, and the run of this process that spends from it.

    `order`: of each class in the account's order, its place in the data's; None: both are the same.
    """

    ledger: Ledger
    id: int
    run: int
    fingerprint: str
    teacher: Teacher
    settings: TeacherSettings
    classes: int
    known: Known = Known()
    order: np.ndarray | None = None

    @property
    def caps(self) -> Caps:
        return caps_of(self.settings)

    def as_owned(self, signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays in the data's order of classes, as the ledger keeps them."""
        return class_names.reordered(signals, self.order)

    def as_data(self, signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays of the ledger in the data's order of classes."""
        return class_names.reordered(signals, None if self.order is None else np.argsort(self.order))


def open_account(
    ledger: Ledger,
    teacher: Teacher,
    settings: TeacherSettings,
    classes: int,
    most_calls: int,
    known: Known | None = None,
) -> Account:
    """The account of `teacher`, opened where there is none, with a run of this process that may make `most_calls` calls.

    Calls of dead processes that were never sent are given back. Raises UserError where what is owned speaks of other classes.
    """
    check_price(settings, teacher.counts_tokens)
    known = known or Known()
    mark = fingerprint(teacher.description)
    id = accounts.open_account(ledger, mark, settings.name, teacher.description, caps_of(settings))
    order = _order_of_classes(ledger, id, teacher.signals, settings, known.classes)
    if moved := accounts.move(ledger, id, teacher.place):
        say(
            f"teacher {settings.name!r}: {moved[1]} answers are owned that came from {moved[0]}; it is asked at {teacher.place} now. Where "
            "that is another model, set another teacher.version"
        )
    run = calls.start_run(ledger, id, most_calls, bound_of(settings.cap.run))
    return Account(ledger, id, run, mark, teacher, settings, classes, known, order)


def _order_of_classes(
    ledger: Ledger, id: int, signals: Sequence[str], settings: TeacherSettings, names: Sequence[str]
) -> np.ndarray | None:
    if not names:
        return None
    return class_names.order(names, class_names.adopt(ledger, id, names, signals, "classes" not in settings.unchecked))


def caps_of(settings: TeacherSettings) -> Caps:
    """The bounds on the teacher's life and on each period, as the ledger takes them."""
    return Caps(bound_of(settings.cap), bound_of(settings.cap.period), settings.cap.period.every)


def bound_of(amounts: Amounts) -> Bound:
    return Bound(
        amounts.calls, amounts.tokens, None if amounts.money is None else to_micros(amounts.money, ROUND_FLOOR)
    )


def worst(settings: TeacherSettings) -> Amount:
    """The most that one call may come to, by `teacher.max_tokens_per_call`: what is reserved for it where nobody counts its tokens."""
    tokens, price = settings.max_tokens_per_call or 0, settings.price
    return _amount(*_each(price), *((tokens, 0) if price.input > price.output else (0, tokens)))


def of_tokens(settings: TeacherSettings, into: int, out: int) -> Amount:
    """What a call comes to with so many tokens of the question and of the answer."""
    return _amount(*_each(settings.price), into, out)


def real(
    settings: TeacherSettings, most: Sequence[Amount], input_tokens: int | None, output_tokens: int | None
) -> list[Amount]:
    """What each of a request's calls came to, by the tokens that the server says it charged for the request.

    `most`: what is reserved for each. Of what the server does not say (or what is no number of tokens), the most that it may have
    charged, where that has a price or tokens have a bound.
    """
    into, out, price, count = _whole(input_tokens), _whole(output_tokens), settings.price, len(most)
    if into is None and out is None:
        return list(most)
    said = [of_tokens(settings, _share(into or 0, count, i), _share(out or 0, count, i)) for i in range(count)]
    if into is not None and out is not None:
        return said
    rest, bounded = max(0, sum(one.tokens for one in most) - (into or 0) - (out or 0)), _bounds_tokens(settings)
    into = into if into is not None else rest if price.input or bounded else 0
    out = out if out is not None else rest if price.output or bounded else 0
    filled = [of_tokens(settings, _share(into, count, i), _share(out, count, i)) for i in range(count)]
    # All that is not said may be of the dearer kind, but no call comes to more than what is reserved and said.
    return [
        replace(one, cost=min(one.cost, max(known.cost, top.cost)))
        for one, known, top in zip(filled, said, most, strict=True)
    ]


def _each(price: Price) -> tuple[float, float, float]:
    return price.call, price.input, price.output


@lru_cache(maxsize=4096)  # most calls take as many tokens as another one, and decimals are slow
def _amount(price_call: float, price_in: float, price_out: float, into: int, out: int) -> Amount:
    """What a call with so many tokens comes to."""
    call, each_in, each_out = (Decimal(str(one)) for one in (price_call, price_in, price_out))
    return Amount(1, into + out, to_micros(call + (into * each_in + out * each_out) / 1_000_000))


def _whole(number: int | None) -> int | None:
    """What a server says of tokens, where it is a number of them: a format of the user's may give anything."""
    if not isinstance(number, Integral) or isinstance(number, bool) or not 0 <= int(number) <= MOST_TOKENS:
        return None
    return int(number)


def _share(total: int, count: int, i: int) -> int:
    """The i-th of `count` whole shares of `total`."""
    return total // count + (i < total % count)


def counts(account: Account) -> bool:
    """Whether each call is reserved at tokens of its own: the teacher can count them, and they have a price or a bound."""
    settings = account.settings
    return account.teacher.counts_tokens and (settings.price.of_tokens or _bounds_tokens(settings))


def rests_on_tokens(settings: TeacherSettings) -> bool:
    """Whether a bound can be kept only where no call takes more tokens than are reserved for it."""
    bounds = (settings.cap, settings.cap.run, settings.cap.period)
    return _bounds_tokens(settings) or any(one.money is not None and settings.price.of_tokens for one in bounds)


def _bounds_tokens(settings: TeacherSettings) -> bool:
    return any(one.tokens is not None for one in (settings.cap, settings.cap.run, settings.cap.period))


def check_price(settings: TeacherSettings, counts_tokens: bool) -> None:
    """Raises UserError where a bound is set on what is not known: money without a price, tokens without the most a call may take.

    `counts_tokens`: the teacher can tell that of each call.
    """
    cap, price = settings.cap, settings.price
    for name, one in (("cap", cap), ("cap.run", cap.run), ("cap.period", cap.period)):
        if one.money is not None and price.call == 0 and not price.of_tokens:
            raise UserError(
                f"teacher.{name}.money: {one.money:g}, but teacher.price is 0: a bound on money needs the price, money a call "
                "(price: 0.002) or a million tokens (price: {input: 0.15, output: 0.6}). Nothing was sent"
            )
        by_tokens = one.tokens is not None or (one.money is not None and price.of_tokens)
        if by_tokens and settings.max_tokens_per_call is None and not counts_tokens:
            key = "tokens" if one.tokens is not None else "money"
            raise UserError(
                f"teacher.{name}.{key}: set, but teacher.max_tokens_per_call is null: name the most tokens (question and answer) that a "
                "call may take; so much is held back for a call until its answer says what it took. Nothing was sent"
            )

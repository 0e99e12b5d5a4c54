"""Amounts of calls, tokens and money: the bounds on them, and the counters that hold what is spent.

Three bounds hold at once: on a run, on a period of the UTC calendar, and on the teacher's whole life. Every live call counts as
spent: at its real cost once it is answered, at its maximum cost until then.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from tuition.errors import UserError
from tuition.ledger.schema import calls, runs, spending, teachers

DAY = 86_400
SKEW = 300  # seconds by which the clocks of machines that share a ledger may differ
EPOCH = date(1970, 1, 1)


class CapReached(UserError):
    """A cap would be exceeded; nothing was reserved. `waits`: calls are under way that may come to less than they might."""

    def __init__(self, text: str, waits: bool = False):
        super().__init__(text)
        self.waits = waits


@dataclass(frozen=True)
class Amount:
    """So many calls, tokens, and millionths of money."""

    calls: int = 0
    tokens: int = 0
    cost: int = 0


def total(amounts: Iterable[Amount]) -> Amount:
    """Their sum."""
    some = list(amounts)
    return Amount(*(sum(getattr(one, unit) for one in some) for unit in ("calls", "tokens", "cost")))


@dataclass(frozen=True)
class Bound:
    """At most so many; None: no bound."""

    calls: int | None = None
    tokens: int | None = None
    cost: int | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class Caps:
    """A teacher's bounds: on its life, and on each `every` (day, week from Monday, month; UTC)."""

    life: Bound = field(default_factory=Bound)
    period: Bound = field(default_factory=Bound)
    every: str = "day"


def to_json(caps: Caps) -> str:
    return json.dumps({"life": vars(caps.life), "period": vars(caps.period), "every": caps.every})


def from_json(text: str) -> Caps:
    read = json.loads(text)
    if not read:
        return Caps()
    return Caps(Bound(**read["life"]), Bound(**read["period"]), read["every"])


def today() -> int:
    return int(time.time() // DAY)


def day_of(at: int | None) -> int | None:
    """The day of a time in seconds; None, as it is of calls that were not reserved here, stays None."""
    return None if at is None else int(at // DAY)


def period_start(day: int, every: str) -> int:
    """The first day of the period in which `day` (days since 1970) lies."""
    at = EPOCH + timedelta(days=day)
    first = {"day": at, "week": at - timedelta(days=at.weekday()), "month": at.replace(day=1)}[every]
    return (first - EPOCH).days


def spent_since(db: sa.Connection, teacher_id: int, day: int) -> Amount:
    """What the teacher's calls that were reserved on `day` and after came to."""
    columns = [sa.func.coalesce(sa.func.sum(spending.c[name]), 0) for name in ("calls", "tokens", "cost")]
    row = db.execute(sa.select(*columns).where(spending.c.teacher_id == teacher_id, spending.c.day >= day)).one()
    return Amount(*(int(value) for value in row))


def check_clock(db: sa.Connection, teacher_id: int, now: float) -> None:
    """Raises UserError where the clock stands before the last day on which calls were booked: a period would be spent twice.

    Clocks of several machines may differ by SKEW seconds: what the fastest booked counts for the others, too.
    """
    last = db.scalar(sa.select(sa.func.max(spending.c.day)).where(spending.c.teacher_id == teacher_id))
    if last is not None and last > (now + SKEW) // DAY:
        raise UserError(
            f"the clock says {_date(int(now // DAY))} (UTC), but calls of this teacher were booked on {_date(last)}, so that "
            "teacher.cap.period cannot be kept. Nothing was sent. Set the clock right, or remove teacher.cap.period"
        )


def room(db: sa.Connection, run_id: int, caps: Caps | None, amounts: Sequence[Amount], now: float) -> tuple[int, str]:
    """How many of the next calls of a run fit every bound, the i-th at most `amounts[i]`; where not all do, the words for the tightest.

    The teacher's own bounds, as the ledger holds them, and the caller's `caps`: another process may have opened the account with
    higher ones since.
    """
    run = db.execute(sa.select(runs).where(runs.c.id == run_id)).one()
    teacher = db.execute(sa.select(teachers).where(teachers.c.id == run.teacher_id)).one()
    spent_run = Amount(run.spent, run.spent_tokens, run.spent_cost)
    found = [_fits(Bound(run.budget, run.budget_tokens, run.budget_cost), spent_run, amounts, "run")]
    spent_life = Amount(teacher.spent, teacher.spent_tokens, teacher.spent_cost)
    for one in (from_json(teacher.caps), caps or Caps()):
        found.append(_fits(one.life, spent_life, amounts, "life"))
        if one.period:
            check_clock(db, teacher.id, now)
            spent = spent_since(db, teacher.id, period_start(int(now // DAY), one.every))
            found.append(_fits(one.period, spent, amounts, one.every))
    return min(found, key=lambda pair: pair[0])


def _fits(bound: Bound, spent: Amount, amounts: Sequence[Amount], scope: str) -> tuple[int, str]:
    """How many of the calls fit one bound, in their order, and the words for the first that does not: `{unit}` spent of `{limit}`."""
    fit, words = len(amounts), ""
    for unit in ("calls", "tokens", "cost"):
        limit, used = getattr(bound, unit), getattr(spent, unit)
        if limit is None:
            continue
        each = [getattr(one, unit) for one in amounts]
        over = (place for place, sum in enumerate(accumulate(each)) if used + sum > limit and each[place])
        if (first := next(over, fit)) < fit:
            fit, words = first, _words(scope, unit, used, limit, each[first])
    return fit, words


def _words(scope: str, unit: str, used: int, limit: int, one: int) -> str:
    key = {"run": "teacher.cap.run", "life": "teacher.cap"}.get(scope, "teacher.cap.period")
    when = {"run": "in this run", "life": "in its life"}.get(scope, f"this {scope}")
    if unit == "calls":
        return f"{key}: {used} calls spent of {limit} {when}"
    if unit == "tokens":
        return f"{key}.tokens: {used} tokens spent of {limit} {when}, and a call may take {one}"
    return f"{key}.money: {used / 1e6:g} spent of {limit / 1e6:g} {when}, and a call may cost {one / 1e6:g}"


def book(db: sa.Connection, teacher_id: int, run_id: int | None, by_day: dict[int | None, Amount]) -> None:
    """Add amounts (negative ones too) to the counters of the teacher, a run and days; the day None stands for none."""
    whole = total(by_day.values())
    for table, id in ((teachers, teacher_id), (runs, run_id)):
        if id is not None and whole != Amount():
            more = {"spent": whole.calls, "spent_tokens": whole.tokens, "spent_cost": whole.cost}
            db.execute(table.update().where(table.c.id == id).values({k: table.c[k] + v for k, v in more.items()}))
    for day, one in by_day.items():
        if day is None or one == Amount():
            continue
        where = (spending.c.teacher_id == teacher_id, spending.c.day == day)
        values = {name: spending.c[name] + value for name, value in vars(one).items()}
        if not db.execute(spending.update().where(*where).values(values)).rowcount:
            db.execute(spending.insert().values(teacher_id=teacher_id, day=day, **vars(one)))


def unbook(db: sa.Connection, where: Iterable[Any]) -> int:
    """Take the calls of which `where` holds off the books, before they are refunded; returns how many they are."""
    rows = db.execute(sa.select(calls).where(*where)).all()
    _book_all(db, rows, -1)
    return len(rows)


def rebook(
    db: sa.Connection, run_id: int, again: Mapping[int, Amount], caps: Caps | None, now: int
) -> tuple[dict[int, Amount], str]:
    """Book calls of unknown fate, each with the most that it may come to, anew, since `run_id` is to send them again now.

    They come off the books of the run and the day that sent them before and on to those of this run and today, so that every bound holds
    whenever the provider charges them. Returns (those that fit every bound, in order, each with the most that it is
    counted at; the words for the tightest bound).
    """
    found = {row.id: row for row in db.execute(sa.select(calls).where(calls.c.id.in_(list(again))))}
    rows = [found[id] for id in again]
    # A price that has fallen since: the first sending may have been charged at the old one.
    most = [
        Amount(1, max(one.tokens, row.tokens), max(one.cost, row.cost))
        for one, row in zip(again.values(), rows, strict=True)
    ]
    _book_all(db, rows, -1)
    fit, words = room(db, run_id, caps, most, now)
    _book_all(db, rows[fit:], 1)
    if fit:
        book(db, rows[0].teacher_id, run_id, {day_of(now): total(most[:fit])})
    return dict(zip(list(again)[:fit], most[:fit], strict=True)), words


def _book_all(db: sa.Connection, rows: Sequence[sa.Row], sign: int) -> None:
    """Add (1) or take off (-1) what calls are counted at, to the runs and days that they are booked on."""
    sums: dict[tuple[int, int | None], dict[int | None, Counter]] = {}
    for row in rows:
        sum = sums.setdefault((row.teacher_id, row.run_id), {}).setdefault(day_of(row.reserved_at), Counter())
        sum.update(calls=sign, tokens=sign * row.tokens, cost=sign * row.cost)
    for (teacher_id, run_id), days in sums.items():
        book(db, teacher_id, run_id, {day: Amount(**sum) for day, sum in days.items()})


def to_micros(money: float | Decimal, rounding: str = ROUND_CEILING) -> int:
    """Money as whole millionths: sums stay exact. Rounded up, so that no price is too small for a cap to feel; caps are rounded down."""
    return int((Decimal(str(money)) * 1_000_000).to_integral_value(rounding))


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()

"""What the ledger says of the teacher that a refresh would ask: what is paid for, and what this period has seen."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tuition.errors import UserError
from tuition.ledger import calls, owned, schema, spending
from tuition.ledger.database import exists, locate, open_ledger
from tuition.ledger.keys import Request
from tuition.params.bounds import Recheck
from tuition.purchase.recheck import rounds
from tuition.teachers import Teacher


@dataclass(frozen=True)
class Standing:
    """`paid`: the content ids that need no new call, in the order in which they were first asked for.

    `again`: those of `paid` whose fate is not known and which will be sent again, under the same key, and booked on this period then.
    `spent`: calls of this period, whatever they were for.
    """

    paid: list[str]
    again: set[str]
    spent: int


def standing(fingerprint: str, ids: Mapping[str, str], teacher: Teacher, every: str) -> Standing:
    """How things stand with the teacher of this fingerprint, as far as the samples `ids` go, in this day, week or month (UTC).

    `ids`: content ids, each with the one by which the teacher is asked for the sample.

    Nothing is made where there is no ledger. Calls of dead processes are settled first, as a purchase would do. Raises UserError where
    the clock stands before calls that are booked, and where the teacher has learnt signals that would be bought of what is owned.
    """
    if not exists(locate()):
        return Standing([], set(), 0)
    ledger = open_ledger()
    with ledger.read() as db:
        id = db.scalar(sa.select(schema.teachers.c.id).where(schema.teachers.c.fingerprint == fingerprint))
    if id is None:
        return Standing([], set(), 0)
    calls.settle(ledger, id)
    clock = time.time()
    first = spending.period_start(int(clock // spending.DAY), every)
    with ledger.read() as db:
        _check_clock(db, id, clock)
        spent = spending.spent_since(db, id, first).calls
    now = owned.standing(ledger, id, [Request(one) for one in ids.values()])
    paid = {one: at for one, asked in ids.items() if (at := now.position(Request(asked))).state is not None}
    order = sorted(paid, key=lambda one: paid[one].call)
    unknown = [one for one in order if paid[one].state == "unknown"] if teacher.idempotent else []
    again = {one for one in unknown if (spending.day_of(paid[one].reserved_at) or 0) < first}
    _check_signals([paid[one].signals for one in order if paid[one].state == "owned"], teacher)
    return Standing(order, again, spent)


def spent(fingerprint: str, every: str) -> int:
    """Calls of the teacher of this fingerprint in this day, week or month (UTC)."""
    if not exists(locate()):
        return 0
    ledger = open_ledger()
    with ledger.read() as db:
        id = db.scalar(sa.select(schema.teachers.c.id).where(schema.teachers.c.fingerprint == fingerprint))
        first = spending.period_start(spending.today(), every)
        return 0 if id is None else spending.spent_since(db, id, first).calls


def asked_again(fingerprint: str, first: Sequence[str], recheck: Recheck, budget: int) -> int:
    """How many of the calls by which `recheck` asks the samples `first` again within `budget` have been made."""
    if recheck.every is None or not exists(locate()):
        return 0
    ledger = open_ledger()
    with ledger.read() as db:
        id = db.scalar(sa.select(schema.teachers.c.id).where(schema.teachers.c.fingerprint == fingerprint))
    numbers = [number for number, _ in rounds(budget, recheck) if number > 1]
    requests = [Request(sample).again(number) for number in numbers for sample in first]
    return 0 if id is None else len(owned.standing(ledger, id, requests).states(requests))


def _check_clock(db: sa.Connection, id: int, now: float) -> None:
    try:
        spending.check_clock(db, id, now)
    except UserError as error:
        found = str(error).split(", so that")[0]
        raise UserError(
            f"{found}: an allowance would be spent twice. Nothing was spent. Set the clock right, or wait"
        ) from None


def _check_signals(have: Sequence[frozenset[str]], teacher: Teacher) -> None:
    """Raises UserError where samples are owned with fewer signals (`have`, of each) than the teacher gives."""
    lacking = [missing for names in have if (missing := sorted(set(teacher.signals) - names))]
    if lacking:
        raise UserError(
            f"teacher.signals: {', '.join(lacking[0])} are not owned of {len(lacking)} samples that are, and would be asked for beyond the "
            "allowance. Nothing was spent. Run the study once (`dvc repro`), or leave them out"
        )

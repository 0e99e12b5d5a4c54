"""What has to be paid for a list of samples, and paying it: new samples, and further signals of samples that are owned without them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.errors import UserError
from stages.ledger import accounts, calls, owned
from stages.ledger.calls import CLEAN
from stages.ledger.database import Ledger
from stages.teach.buy import buy
from stages.teach.progress import bar
from stages.teach.teachers import Teacher, fingerprint


@dataclass(frozen=True)
class Account:
    """A teacher's account in a ledger, with the settings (`params.Teacher`) by which it is called."""

    ledger: Ledger
    id: int
    fingerprint: str
    teacher: Teacher
    settings: Any
    classes: int


def open_account(ledger: Ledger, teacher: Teacher, settings: Any, classes: int) -> Account:
    """The account of `teacher`, opened where there is none; calls of dead processes that were never sent are given back."""
    mark = fingerprint(teacher.description)
    id = accounts.open_account(ledger, mark, settings.name, teacher.description, settings.cap)
    calls.settle(ledger, id)
    return Account(ledger, id, mark, teacher, settings, classes)


def lacking(account: Account, ids: Sequence[str]) -> dict[str, list[str]]:
    """What is to be bought of `ids` (content ids): by view the samples, those without any call under `clean`."""
    states = owned.states(account.ledger, account.id, ids)
    have = owned.signals(account.ledger, account.id, [one for one in ids if states.get(one) == "owned"])
    wanted, views = set(account.teacher.signals), {CLEAN: [one for one in ids if states.get(one) != "owned"]}
    for one, names in have.items():
        if wanted - names:
            views.setdefault(owned.further(CLEAN, wanted - names), []).append(one)
    return views


def check(account: Account, ids: Sequence[str]) -> None:
    """Refuse, before anything is sent, what does not fit the teacher's cap, or would pay twice for owned samples.

    Further signals of owned samples are bought only where asking again is free: an idempotent teacher without a price.
    """
    settings, needed = account.settings, 0
    for view, some in lacking(account, ids).items():
        known = owned.states(account.ledger, account.id, some, view)
        missing = [one for one in some if one not in known]
        needed += len(missing)
        if view != CLEAN and missing and not (account.teacher.idempotent and settings.price == 0):
            have = owned.signals(account.ledger, account.id, missing[:1])[missing[0]]
            raise UserError(
                f"teacher: offers {', '.join(account.teacher.signals)}, but {len(missing)} samples are owned with "
                f"{', '.join(sorted(have))} alone, and asking again may be charged. Nothing was sent. Offer no more than these "
                "signals, or change teacher.version: then it is another teacher, whose outputs are bought anew"
            )
    spent = accounts.find(account.ledger, account.fingerprint).spent
    if settings.cap is not None and needed and spent + needed > settings.cap:
        raise UserError(
            f"teacher.cap: {settings.cap} calls in the teacher's life, {spent} are spent and this budget needs {needed} more. "
            "Nothing was sent. Raise teacher.cap or lower study.budgets"
        )


def own(account: Account, ids: Sequence[str], images_of: Callable[[Sequence[str]], np.ndarray], title: str) -> int:
    """Buy what `ids` lack, `images_of(ids)` giving their (B, C, H, W) uint8; returns how many new calls that took."""

    def bought(view: str, some: list[str], signals: list[str] | None, title: str) -> int:
        with bar(title) as progress:
            return buy(
                account.ledger, account.id, account.teacher, some, images_of, account.settings, account.classes, progress,
                view=view, signals=signals,
            )  # fmt: skip

    new = bought(CLEAN, lacking(account, ids)[CLEAN], None, title)
    later = {view: some for view, some in lacking(account, ids).items() if view != CLEAN}
    if later:
        check(account, ids)  # another process may have brought some of them meanwhile, with fewer signals
    for view, some in later.items():
        signals = view.removeprefix(f"{CLEAN}+").split(",")
        new += bought(view, some, signals, f"{title}: {', '.join(signals)}")
    return new

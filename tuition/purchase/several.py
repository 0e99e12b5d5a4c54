"""Further teachers beside `teacher`: each is asked for the same samples in the same order, from an account of its own in the ledger.

A budget of n calls is n calls of each. All of them are loaded and checked, and the servers among them found, before the first call
of any is sent; then they are asked one after another.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tuition.errors import UserError
from tuition.ledger.database import Ledger
from tuition.params.checks import MAIN
from tuition.params.teacher import REMOTE, Teacher
from tuition.purchase import recheck as drift
from tuition.purchase.account import Account, open_account
from tuition.purchase.buy import ImagesOf, outstanding
from tuition.purchase.purchase import check, own_in_rounds
from tuition.teachers import fingerprint, load_teacher

T = TypeVar("T")


@dataclass(frozen=True)
class Bought:
    """What came of asking one teacher: how many of its answers can be used, and how many calls were new."""

    account: Account
    usable: int
    new: int


def load(settings: Teacher, data: dict[str, Any]) -> Any:
    """One teacher. Raises UserError where it knows another number of classes than the data with the facts `data` has."""
    teacher, classes = load_teacher(settings, data), len(data["classes"])
    if teacher.classes is not None and teacher.classes != classes:
        raise UserError(
            f"teacher {settings.name!r} knows {teacher.classes} classes, but data has {classes}: {data['classes'][:12]}"
        )
    return teacher


def load_further(sections: Sequence[Teacher], data: dict[str, Any], main: Any) -> dict[str, Any]:
    """The teachers of `teachers` by name. Raises UserError where one of them is another one, or `main`, over again."""
    loaded: dict[str, Any] = {}
    known = {fingerprint(main.description): MAIN}
    for settings in sections:
        with _named(settings.name):
            one = loaded[settings.name] = load(settings, data)
            same = known.setdefault(fingerprint(one.description), settings.name)
            if same != settings.name:
                raise UserError(
                    f"it is the same teacher as {same!r} (the same weights, or the same model or function and version), and would be paid "
                    "for the same answers; name another, or leave it out"
                )
    return loaded


def open_accounts(
    ledger: Ledger,
    sections: Sequence[Teacher],
    loaded: Mapping[str, Any],
    classes: int,
    asks: Sequence[str],
    budget: int,
) -> list[Account]:
    """An account for each, in the order of `sections`. Nothing is sent, but what is free of charge: whether a server is there.

    Raises UserError where buying what `budget` calls buy of `asks` does not fit a teacher's cap, and where a server cannot be asked.
    """
    accounts = []
    for settings in sections:
        with _named(settings.name):
            teacher, some = loaded[settings.name], list(asks[: drift.samples_for(budget, settings.recheck)])
            again = settings.recheck.samples * (len(list(drift.rounds(budget, settings.recheck))) - 1)
            most = len(some) * (2 if teacher.idempotent else 1) + again  # with further signals of what is owned
            account = open_account(ledger, teacher, settings, classes, most)
            check(account, some, again - drift.calls(account, some, budget)[0])
            if settings.kind in REMOTE and outstanding(account, some)[0]:
                asyncio.run(_reach(teacher))
            accounts.append(account)
    return accounts


def buy(accounts: Sequence[Account], asks: Sequence[str], budget: int, images_of: ImagesOf) -> dict[str, int]:
    """Own what each lacks of `asks`, within `budget` calls of each; returns how many new calls that took, by name."""
    return each(
        accounts, lambda one: own_in_rounds(one, asks, budget, images_of, f"teach {budget} {one.settings.name}")
    )


def each(accounts: Sequence[Account], do: Callable[[Account], T]) -> dict[str, T]:
    """`do(account)` of each in turn, by name. A UserError says whose it is."""
    done = {}
    for account in accounts:
        with _named(account.settings.name):
            done[account.settings.name] = do(account)
    return done


def folder(outputs: Path, account: Account) -> Path:
    """Where the export of a further teacher lies in outputs/<budget>/."""
    return outputs / "teachers" / account.settings.name


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors speak of `teacher`, whichever it is: say which."""
    try:
        yield
    except UserError as error:
        raise UserError(f"teachers: {name!r}: {error}") from error


async def _reach(teacher: Any) -> None:
    async with teacher:
        pass

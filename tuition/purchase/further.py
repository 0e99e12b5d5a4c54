"""Further teachers beside `teacher`: each is asked for the same samples in the same order, from an account of its own in the ledger.

A budget of n calls is n calls of each. All of them are loaded and checked, and the servers among them found, before the first call
of any is sent; then they are asked one after another.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tuition.errors import UserError
from tuition.ledger.database import Ledger
from tuition.params.teacher import TeacherSettings
from tuition.purchase.account import Known
from tuition.purchase.loop import outstanding
from tuition.purchase.order import Order
from tuition.purchase.own import OpenOrder, open_order
from tuition.signals import MAIN
from tuition.teachers import Teacher, fingerprint, load_teacher
from tuition.teachers.kinds import Facts

T = TypeVar("T")


def load_for(settings: TeacherSettings, facts: Facts) -> Teacher:
    """One teacher. Raises UserError where it knows another number of classes than the data with these facts has."""
    teacher, classes = load_teacher(settings, facts), len(facts["classes"])
    if teacher.classes is not None and teacher.classes != classes:
        raise UserError(
            f"teacher {settings.name!r} knows {teacher.classes} classes, but data has {classes}: {facts['classes'][:12]}"
        )
    return teacher


def load_further(sections: Sequence[TeacherSettings], facts: Facts, main: Teacher) -> dict[str, Teacher]:
    """The teachers of `teachers` by name. Raises UserError where one of them is another one, or `main`, over again."""
    loaded: dict[str, Teacher] = {}
    known = {fingerprint(main.description): MAIN}
    for settings in sections:
        with _named(settings.name):
            one = loaded[settings.name] = load_for(settings, facts)
            same = known.setdefault(fingerprint(one.description), settings.name)
            if same != settings.name:
                raise UserError(
                    f"it is the same teacher as {same!r} (the same weights, or the same model or function and version), and would be paid "
                    "for the same answers; name another, or leave it out"
                )
    return loaded


def open_orders(
    ledger: Ledger,
    sections: Sequence[TeacherSettings],
    loaded: Mapping[str, Teacher],
    known: Known,
    orders: Mapping[str, Order],
) -> dict[str, OpenOrder]:
    """An open order for each, in the order of `sections`. Nothing is sent, but what is free of charge: whether a server is there.

    Raises UserError where an order does not fit a teacher's cap, and where a server cannot be asked.
    """
    opened: dict[str, OpenOrder] = {}
    for settings in sections:
        with _named(settings.name):
            name = settings.name
            one = opened[name] = open_order(ledger, loaded[name], settings, known, orders[name])
            if outstanding(one.account, one.order.requests, one.before)[0]:
                asyncio.run(_reach(one.account.teacher))
    return opened


def each(opened: Mapping[str, OpenOrder], do: Callable[[str, OpenOrder], T]) -> dict[str, T]:
    """`do(name, order)` of each in turn, by name. A UserError says whose it is."""
    done = {}
    for name, one in opened.items():
        with _named(name):
            done[name] = do(name, one)
    return done


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors speak of `teacher`, whichever it is: say which."""
    try:
        yield
    except UserError as error:
        raise UserError(f"teachers: {name!r}: {error}") from error


async def _reach(teacher: Teacher) -> None:
    async with teacher:
        pass

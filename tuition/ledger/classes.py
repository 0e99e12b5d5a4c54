"""The names and order of the classes that a teacher's owned answers speak of: part of what is owned.

Answers lie in the account's order, whatever the data's is. Whoever stores or reads them brings them into it and back.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from tuition.errors import UserError
from tuition.ledger import blocks
from tuition.ledger.database import Ledger
from tuition.ledger.schema import calls, teachers
from tuition.ledger.schema import parts as block_parts
from tuition.signals import CLASS, FAMILIES, OF_CLASSES, family_of

SHOWN = 30  # names in a message


def read(row: sa.Row) -> tuple[str, ...] | None:
    """The classes of a teacher's account; None: nobody has said."""
    return None if row.classes is None else tuple(json.loads(row.classes))


def adopt(
    ledger: Ledger, teacher_id: int, names: Sequence[str], signals: Sequence[str], checked: bool = True
) -> tuple[str, ...]:
    """The account's classes, in its order; those of an account without any, or without an answer, become `names`, the data's.

    Raises UserError where the account's answers cannot be put into the data's order: it names other classes (not `checked`: another
    number of them), or owns arrays (`signals`: the teacher's) of which nobody knows whether they have an axis of classes.
    """
    names = tuple(map(str, names))
    with ledger.write() as db:
        row = db.execute(sa.select(teachers).where(teachers.c.id == teacher_id)).one()
        known, owned = read(row), _owned_number(db, teacher_id)
        if known is None and owned not in (None, 0, len(names)):
            raise _other(ledger, row.name, f"{owned} classes, whose names it does not know", names)
        if known is None or owned is None or (not checked and len(known) == len(names)):
            if known != names:
                db.execute(teachers.update().where(teachers.c.id == teacher_id).values(classes=json.dumps(names)))
            return names
    if known == names:
        return known
    if sorted(known) != sorted(names) or len(set(names)) < len(names):
        raise _other(ledger, row.name, f"the classes {_listed(known)}", names)
    if strange := [name for name in signals if family_of(name) not in (*FAMILIES, CLASS)]:
        raise UserError(
            f"teacher {row.name!r}: the data's classes stand in another order now ({_listed(names)}) than in what is owned "
            f"({_listed(known)}), and nobody knows whether {', '.join(strange)} has an axis of classes. Nothing was sent. "
            "Bring the data's classes into the earlier order, or set another teacher.version"
        )
    return known


def joined(
    ledger: Ledger, teacher_id: int, theirs: Sequence[str], signals: Mapping[str, np.ndarray], where: str
) -> dict[str, np.ndarray]:
    """Arrays (n, …) that speak of the classes `theirs`, in the account's order. Raises UserError, which begins with `where`."""
    try:
        return reordered(signals, order(theirs, adopt(ledger, teacher_id, theirs, list(signals))))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def order(theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray | None:
    """For each of `ours` its place in `theirs`, (C,); None where both are the same. Raises ValueError where the names differ."""
    if list(theirs) == list(ours):
        return None
    if sorted(theirs) != sorted(ours) or len(set(ours)) < len(ours):
        raise ValueError(f"{_listed(theirs)} against {_listed(ours)}")
    place = {name: at for at, name in enumerate(theirs)}
    return np.array([place[name] for name in ours])


def reordered(signals: Mapping[str, np.ndarray], places: np.ndarray | None) -> dict[str, np.ndarray]:
    """Arrays (…, C), and indices of classes, from one order into another; `places`: of each class of the new order in the old one."""
    if places is None:
        return dict(signals)
    back = np.argsort(places)
    of_class = {name: values[..., places] for name, values in signals.items() if name in OF_CLASSES}
    if CLASS in signals:
        given = np.asarray(signals[CLASS])
        at = given.astype(np.int64)
        of_class[CLASS] = np.where(at >= 0, back[at], at).astype(given.dtype)
    return {**signals, **of_class}


def _owned_number(db: sa.Connection, teacher_id: int) -> int | None:
    """How many classes the owned logits have; 0 where what is owned does not say, None where nothing is owned."""
    block = sa.select(calls.c.block_id).where(
        calls.c.teacher_id == teacher_id, calls.c.state == "done", calls.c.block_id.is_not(None)
    )
    first = db.scalar(block.limit(1))
    if first is None:
        return None
    row = db.execute(
        sa.select(block_parts).where(block_parts.c.block_id == first, block_parts.c.signal == "logits")
    ).first()
    return 0 if row is None else blocks.Part(row).shape[-1]


def _other(ledger: Ledger, name: str, found: str, names: Sequence[str]) -> UserError:
    return UserError(
        f"teacher {name!r}: its answers in the ledger {ledger.place} are for {found}, but the data has the {len(names)} classes "
        f"{_listed(names)}. Nothing was sent. Give the data the same classes again (folders, data.classes), or set another "
        "teacher.version: then it is another teacher, whose answers are bought anew. Where the classes are the same ones in the same order "
        "under new names, teacher.unchecked: [classes] takes them so"
    )


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(names[:SHOWN])
    return f"{len(names)}: {some}{', …' if len(names) > SHOWN else ''}"

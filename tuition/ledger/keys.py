"""What is asked for: a sample, or a view of it; and finding the calls for many of them.

An ask is text: `<content id>` is the sample as it is, `<content id> <view>` a view of it. Where a function takes asks and a `view`
beside them, that `view` speaks of each ask's own view as `clean`: `clean+embedding` of `<id> crop=…` is `crop=…+embedding`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from tuition.ledger.schema import CLEAN, SHORT, calls, short

CHUNK = 5_000  # values in one IN list

Key = tuple[bytes, str]  # a sample as it is stored, and a view


def ask(sample: str, view: str) -> str:
    """The ask for a view of a sample (content id)."""
    return sample if view == CLEAN else f"{sample} {view}"


def split(ask: str) -> tuple[str, str]:
    """(content id, view) of an ask."""
    sample, _, view = ask.partition(" ")
    return sample, view or CLEAN


def keyed(asks: Iterable[str], view: str = CLEAN) -> dict[Key, str]:
    """What the ledger keys `view` of these asks by, in their order; of two asks for the same the first stands."""
    found: dict[Key, str] = {}
    for one in asks:
        sample, own = split(one)
        found.setdefault((bytes.fromhex(sample), view if own == CLEAN else _of(own, view)), one)
    return found


def find(
    db: sa.Connection,
    teacher_id: int,
    wanted: Mapping[Key, str],
    columns: Sequence[Any],
    *where: Any,
    further: bool = False,
) -> Iterator[tuple[str, sa.Row]]:
    """(ask, row of `columns` with sample and view) of a teacher's calls for what is `wanted` (see `keyed`), where `where` holds.

    With `further`, also of the calls for signals that were bought further of it.
    """
    views = {view for _, view in wanted}
    narrow = [] if len(views) != 1 else [with_further(*views) if further else calls.c.view == next(iter(views))]
    chosen = sa.select(calls.c.sample, calls.c.view, *columns).where(calls.c.teacher_id == teacher_id, *narrow, *where)
    left = iter(wanted.items())
    while part := dict(islice(left, CHUNK)):
        for row in db.execute(chosen.where(among(sample for sample, _ in part))):
            # All views of a sample come, where several are wanted: they are few, and mostly all of them are.
            found = part.get((row[0], row[1].partition("+")[0] if further else row[1]))
            if found is not None:
                yield found, row


def among(samples: Iterable[bytes]) -> sa.ColumnElement[bool]:
    """Whether a call is for one of these samples, in the words of the index of live calls."""
    return short.in_(list(dict.fromkeys(sample[-SHORT:] for sample in samples)))


def with_further(view: str) -> sa.ColumnElement[bool]:
    """`view` and what was bought further of it."""
    return sa.or_(calls.c.view == view, calls.c.view.startswith(f"{view}+", autoescape=True))


def key_of(fingerprint: str, sample: str, view: str) -> str:
    """A call's idempotency key: the same when the same call is sent again, by whomever."""
    return hashlib.sha256(f"{fingerprint}/{sample}/{view}".encode()).hexdigest()[:32]


def parts(samples: Sequence[str]) -> Iterator[list[bytes]]:
    """Content ids as they are stored, in lists that fit one query."""
    for start in range(0, len(samples), CHUNK):
        yield [bytes.fromhex(sample) for sample in samples[start : start + CHUNK]]


def _of(own: str, view: str) -> str:
    return own + view.removeprefix(CLEAN) if view.startswith(CLEAN) else f"{own} {view}"

"""What is asked of a teacher, how the ledger spells it, and how the calls for many requests are found.

Nothing else knows the spelling. Of a sample's request `calls.view` holds the view, the round, the repeat and the further signals:
`[<view>][ again <round>][ repeat <repeat>][+<signal>,…]`, where the view `clean` is left out before a round or a repeat.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from tuition.ledger.schema import SHORT, calls, short
from tuition.views import CLEAN, is_view

CHUNK = 5_000  # values in one IN list

Key = tuple[bytes, str]  # what the ledger stores of a request: the sample, and the rest as text


class Request(NamedTuple):
    """A request to a teacher for its outputs of one sample.

    `sample`: content id (64 hex characters). `view`: of it, as text (`tuition.views`). `round`: 0 is the first time; n ≥ 1 is asked
    again, as round n of `teacher.recheck` begins. `signals`: () is all that the teacher gives; else these alone, of a sample that is
    owned without them. `repeat`: 0 is the first answer; n ≥ 1 is another one to the same, of a teacher that may answer otherwise.
    """

    sample: str
    view: str = CLEAN
    round: int = 0
    signals: tuple[str, ...] = ()
    repeat: int = 0

    @classmethod
    def of(cls, sample: str, stored: str) -> "Request":
        """The request for a sample that the ledger stores so."""
        if stored == CLEAN:
            return cls(sample)
        base, _, signals = stored.partition("+")
        base, repeat = _split(base, "repeat")
        view, round = _split(base, "again")
        return cls(sample, view, round, tuple(signals.split(",")) if signals else (), repeat)

    @property
    def stored(self) -> str:
        """The view, the round, the repeat and the further signals, as the ledger stores them."""
        _, text, round, signals, repeat = self
        for word, number in (("again", round), ("repeat", repeat)):
            if number:
                text = f"{word} {number}" if text == CLEAN else f"{text} {word} {number}"
        return f"{text}+{','.join(sorted(signals))}" if signals else text

    @property
    def key(self) -> Key:
        """The sample and the rest, as the ledger stores them."""
        return bytes.fromhex(self.sample), self.stored

    @property
    def is_of_view(self) -> bool:
        """Whether it is the first request for a view of the sample, and for all signals."""
        return not self.round and not self.signals and not self.repeat and is_view(self.view)

    def again(self, round: int) -> "Request":
        """The same asked again, as `round` begins."""
        return self._replace(round=round)

    def repeated(self, repeat: int) -> "Request":
        """The same for its answer number `repeat`, from 0 on."""
        return self._replace(repeat=repeat)

    def further(self, signals: Collection[str]) -> "Request":
        """The request for these signals, of what is owned without them."""
        return self._replace(signals=tuple(sorted(signals)))

    def __str__(self) -> str:
        return self.sample if self.stored == CLEAN else f"{self.sample} {self.stored}"


def _split(text: str, word: str) -> tuple[str, int]:
    """(what stands before `word` and its number, the number) of a request's text; 0 where it has no such end."""
    match = re.fullmatch(rf"(?:(?P<before>.+) )?{word} (?P<number>[1-9]\d*)", text)
    return (match["before"] or CLEAN, int(match["number"])) if match else (text, 0)


def key_of(fingerprint: str, request: Request) -> str:
    """A call's idempotency key: the same when the same call is sent again, by whomever."""
    return hashlib.sha256(f"{fingerprint}/{request.sample}/{request.stored}".encode()).hexdigest()[:32]


def keyed(requests: Iterable[Request]) -> dict[Key, Request]:
    """The requests by what the ledger stores of them, each once, in their order."""
    by_key: dict[Key, Request] = {}
    for request in requests:
        by_key.setdefault(request.key, request)
    return by_key


def base_of(key: Key) -> Key:
    """The key of the request that a request for further signals adds to; of any other request its own."""
    return key[0], key[1].partition("+")[0]


def further_of(key: Key, signals: Collection[str]) -> Key:
    """The key of the request for further signals of what is stored under `key`."""
    return key[0], f"{key[1]}+{','.join(sorted(signals))}"


# Of a call, in SQL: whether it is for further signals, and whether it is for a clean sample, the first time and with all signals.
is_further = calls.c.view.contains("+")
is_clean = calls.c.view == CLEAN


def find(
    db: sa.Connection,
    teacher_id: int,
    by_key: Mapping[Key, Request],
    columns: Sequence[sa.ColumnElement],
    *where: sa.ColumnElement[bool],
) -> Iterator[tuple[Request, sa.Row]]:
    """(request, row of `columns`) of a teacher's calls for these requests (`keyed`), where `where` holds."""
    views = {view for _, view in by_key}
    narrow = [calls.c.view == next(iter(views))] if len(views) == 1 else []
    for row, some in _rows(db, teacher_id, by_key, columns, *narrow, *where):
        request = some.get((row[0], row[1]))
        if request is not None:
            yield request, row


def find_all(
    db: sa.Connection,
    teacher_id: int,
    by_key: Mapping[Key, Request],
    columns: Sequence[sa.ColumnElement],
    *where: sa.ColumnElement[bool],
) -> Iterator[tuple[Request, sa.Row, bool]]:
    """As `find`, with the calls for further signals of these requests: (request, row, whether it is one of those)."""
    views = {view for _, view in by_key}
    narrow = [_with_further(*views)] if len(views) == 1 else []
    for row, some in _rows(db, teacher_id, by_key, columns, *narrow, *where):
        key = (row[0], row[1])
        request = some.get(key)
        if request is not None:
            yield request, row, False
        if "+" in key[1] and (request := some.get(base_of(key))) is not None:
            yield request, row, True


def _rows(
    db: sa.Connection,
    teacher_id: int,
    by_key: Mapping[Key, Request],
    columns: Sequence[sa.ColumnElement],
    *where: sa.ColumnElement[bool],
) -> Iterator[tuple[sa.Row, dict[Key, Request]]]:
    """Rows (sample, view and `columns`) of the calls for the samples of requests, each with the requests among which to look.

    All views of a sample come, where several are looked for: they are few, and mostly all of them are.
    """
    chosen = sa.select(calls.c.sample, calls.c.view, *columns).where(calls.c.teacher_id == teacher_id, *where)
    left = iter(by_key.items())
    while part := dict(islice(left, CHUNK)):
        for row in db.execute(chosen.where(among(sample for sample, _ in part))):
            yield row, part


def among(samples: Iterable[bytes]) -> sa.ColumnElement[bool]:
    """Whether a call is for one of these samples, in the words of the index of live calls."""
    return short.in_(list(dict.fromkeys(sample[-SHORT:] for sample in samples)))


def _with_further(view: str) -> sa.ColumnElement[bool]:
    """`view` and what was bought further of it."""
    return sa.or_(calls.c.view == view, calls.c.view.startswith(f"{view}+", autoescape=True))


def sample_parts(samples: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Samples in lists that fit one query."""
    for start in range(0, len(samples), CHUNK):
        yield samples[start : start + CHUNK]

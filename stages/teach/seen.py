"""The samples of an order as a teacher is shown them, made when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stages.teach.pool import Pool
from tuition.errors import UserError
from tuition.inputs.bought import Bought
from tuition.inputs.protocol import Samples
from tuition.ledger import owned
from tuition.ledger.keys import Request
from tuition.origins import Place, objects, read_origins
from tuition.params import Data
from tuition.params.teacher import TableSettings, TeacherSettings
from tuition.purchase.own import OpenOrder
from tuition.sources.originals import Originals
from tuition.teachers.shown import resizes_itself, sends_files, shows_originals, side_of
from tuition.workspace import Workspace

Rows = Callable[[list[int]], np.ndarray]  # rows of an order -> (B, …)


class Seen:
    """What a teacher is asked for, `requests` (n,), and shown: `(some)` gives (B, …), the first time or again.

    `ids` (n,) S64: of the rows' samples, as the data has them; `stored_ids` (n,) S64: of what is stored, where it is shown originals.
    """

    def __init__(self, requests: Sequence[Request], ids: np.ndarray, rows: Rows, stored_ids: np.ndarray | None = None):
        self.requests, self.ids, self.stored_ids = tuple(requests), ids, stored_ids
        self._row_of = {(one.sample, one.view): row for row, one in enumerate(requests)}
        self._rows = rows

    @property
    def reads_files(self) -> bool:
        """Whether showing them takes long."""
        return self.stored_ids is not None

    def ids_of(self, requests: Sequence[Request]) -> np.ndarray:
        """(B,) S64: the samples' content ids, as the data has them."""
        return self.ids[self.rows_of(requests)]

    def __call__(self, requests: Sequence[Request]) -> np.ndarray:
        return self._rows(self.rows_of(requests))

    def rows_of(self, requests: Sequence[Request]) -> list[int]:
        """Each request's row, whichever of its sample's answers it asks for."""
        return [self._row_of[one.sample, one.view] for one in requests]


@dataclass(frozen=True)
class Part:
    """The samples of one split: content ids (N,) S64 of the originals and of what is stored, and the stored samples (N, …)."""

    split: str
    ids: np.ndarray
    stored_ids: np.ndarray
    stored: Samples


def show(data: Data, settings: TeacherSettings, pool: Pool, part: Part, positions: np.ndarray) -> Seen:
    """What one teacher is asked for, and shown, of the samples of `part` at these positions (n,); `pool` says what all data is like.

    Raises UserError where it cannot be shown originals as they are.
    """
    ids, stored_ids = part.ids[positions], part.stored_ids[positions]
    if isinstance(settings, TableSettings):  # it looks up what is asked for, and is shown that
        return Seen(_requests(ids), ids, lambda rows: ids[rows])
    files = sends_files(settings)
    if not files and not shows_originals(settings, pool.facts):
        return show_stored(settings, _requests(stored_ids), ids, Bought(pool.inputs, part.stored, positions))
    source, side = Originals(data, pool.facts["channels"]), side_of(settings)

    @cache
    def places() -> dict[int, Place]:
        """Read when the first original is shown: where all is owned, none is."""
        return _places(part.split, set(positions.tolist()))

    def file(row: int) -> bytes:
        return source.file(ids[row].decode(), places()[int(positions[row])])

    def original(row: int) -> np.ndarray:
        position, here = int(positions[row]), ids[row] == stored_ids[row]
        found = np.array(part.stored[position]) if here else source.read(ids[row].decode(), places()[position])
        return found if side is None else pool.inputs.resized(found, side)

    if files:
        return Seen(_requests(ids), ids, lambda rows: np.array([file(row) for row in rows], dtype=object), stored_ids)
    return Seen(_requests(ids), ids, lambda rows: stacked([original(row) for row in rows]), stored_ids)


def show_stored(settings: TeacherSettings, requests: Sequence[Request], ids: np.ndarray, bought: Bought) -> Seen:
    """Shown what is stored, or views of it: made `teacher.resize` pixels a side where the teacher has no code for that."""
    if sends_files(settings):
        raise UserError("teacher.options.send: found original, but views (teach.views) are no files; set png")
    side, inputs = side_of(settings), bought.inputs
    if side is None or resizes_itself(settings):
        return Seen(requests, ids, lambda rows: bought[rows])
    return Seen(requests, ids, lambda rows: stacked([inputs.resized(one, side) for one in bought[rows]]))


def _requests(ids: np.ndarray) -> tuple[Request, ...]:
    return tuple(Request(id.decode()) for id in ids)


def _places(split: str, wanted: set[int]) -> dict[int, Place]:
    """Where the rows of a split came from."""
    file = Workspace().split(split).files
    found = {row: place for row, (_, place) in enumerate(read_origins(file)) if row in wanted}
    if len(found) < len(wanted):
        raise UserError(f"{file}: has no row for {len(wanted) - len(found)} samples; `dvc repro -f prepare` writes it")
    return found


def stacked(samples: Sequence[Any]) -> np.ndarray:
    """Samples of one shape -> (B, …); texts and files -> (B,) objects. Raises UserError where their shapes differ."""
    if not all(isinstance(one, np.ndarray) for one in samples):
        return objects(samples)
    shapes = list(dict.fromkeys(one.shape for one in samples))
    if len(shapes) > 1:
        first, other = ("x".join(map(str, shape)) for shape in shapes[:2])
        raise UserError(
            f"teacher.batch_size: originals of shapes {first} and {other} in one request; set teacher.batch_size: 1, or teacher.resize to "
            "the pixels a side that the teacher wants"
        )
    return np.stack(samples)


def check_nothing_owned_of_stored(opened: OpenOrder, seen: Seen, facts: dict) -> None:
    """Raises UserError where answers would be bought to originals of samples for which answers to what is stored are owned.

    Those were bought when teachers were shown what is stored. Where originals have been bought before, all is well.
    """
    if seen.stored_ids is None or not opened.buys or opened.before.states(opened.order.requests):
        return
    before = [Request(id.decode()) for id in seen.stored_ids]
    standing = owned.standing(opened.account.ledger, opened.account.id, before)
    held = sum(standing.state(one) == "owned" for one in before)
    if held:
        side = facts["height"]
        raise UserError(
            f"teacher {opened.account.settings.name!r}: answers to {held} of these {len(before)} samples are owned, to what they look like "
            f"at {side} pixels a side (data.resize), and none to the originals. Set teacher.resize: {side} to go on with those, or another "
            "teacher.version to buy answers to the originals"
        )

"""Exports back into a ledger: what they hold becomes owned, what is damaged or lost here is mended, and nothing owned is touched."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.ledger import blocks
from tuition.ledger import classes as class_names
from tuition.ledger.accounts import open_account
from tuition.ledger.database import Ledger
from tuition.ledger.keys import Key, Request, base_of, further_of
from tuition.ledger.schema import calls, is_live, rejected
from tuition.ledger.spending import Amount, book, day_of
from tuition.views import CLEAN, FILE, to_text
from tuition.workspace import META, Export

UNDER_WAY = ("reserved", "sent")
NOTHING_SAID: Mapping[str, int | None] = {"identity_id": None, "unlisted_tokens": None}  # of an answer, of itself
BLOCK = 256  # calls whose outputs lie together
WITHIN = ("mixed", "evaluation/*", "teachers/*")  # of outputs/<budget>/
DEAREST = 10**15  # millionths: the largest price of a call that params.yaml takes


def exports_within(folder: Path) -> list[Path]:
    """The folder, and what outputs/<budget>/ holds beside its own answers: of mixed inputs, of val and test, of further teachers.

    Of samples that were asked for several times the answers themselves, in place of what is made of them.
    """
    found = [Export(folder), *(Export(path.parent) for one in WITHIN for path in sorted(folder.glob(f"{one}/{META}")))]
    made_of_several = [one for one in found if one.meta.is_file() and read_json(one.meta).get("samples", 1) > 1]
    whole = [one for one in found if one not in made_of_several]
    return [one.path for one in (*whole, *(repeat for each in found for repeat in each.repeats()))]


def import_folder(ledger: Ledger, folder: Path) -> tuple[int, int]:
    """Take an export's outputs into the ledger; returns (rows that brought something, rows that brought nothing).

    Taking one twice changes nothing. A call of this ledger that was unknown, lost or malformed, and an output that is damaged, is
    mended by it; signals that a sample is owned without are added to it. Raises UserError naming the file that does not fit,
    before anything is written.
    """
    export = Export(folder)
    meta, ids = read_json(export.meta), read_array(export.asked_ids if export.asked_ids.exists() else export.ids)
    n = len(ids)
    _check(export, meta, ids)
    repeat = meta.get("repeat", 0)
    views = _views(folder, meta, n)
    if len(set(zip(ids.tolist(), views, strict=True))) < n:
        raise UserError(
            f"{export.ids}: the same id stands there twice{' with the same view' if len(set(views)) > 1 else ''}"
        )
    signals = {signal: read_array(export.signal(signal)) for signal in meta["signals"]}
    costs = read_array(export.costs)
    for name, values in signals.items():
        _check_values(export.signal(name), values, n, "fui", partial=name == "logits")
    _check_values(export.costs, costs, n, "iu")
    if n and int(costs.max()) > DEAREST:
        raise UserError(f"{export.costs}: found {int(costs.max())}, expected millionths of money, {DEAREST} at most")
    teacher = meta["teacher"]
    id = open_account(ledger, teacher["fingerprint"], teacher["name"], teacher["description"], None)
    if "classes" in meta:
        signals = class_names.joined(ledger, id, meta["classes"], signals, str(export.meta))
    with ledger.write() as db:
        books = Books(db, id)
        taken = sum(
            books.take(
                Request(ids[i].decode(), views[i], repeat=repeat).key,
                {name: values[i] for name, values in signals.items()},
                int(costs[i]),
            )
            for i in range(n)
        )
        books.close()
        ledger.analyse(db)
    return taken, n - taken


class Books:
    """One teacher's live calls, and what was bought further of them, within one transaction. Ends with `close`."""

    def __init__(self, db: sa.Connection, teacher_id: int):
        self.db, self.teacher_id = db, teacher_id
        where = (calls.c.teacher_id == teacher_id, is_live)
        held = db.execute(sa.select(calls).where(*where)).all()
        self.held: dict[Key, sa.Row] = {(row.sample, row.view): row for row in held}
        self.whole: dict[Key, set[str]] = {}  # by sample and view: signals whose output is here and not damaged
        self.damaged: dict[Key, dict[str, tuple[blocks.Part, int]]] = {}  # likewise, by signal
        self.new: list[dict[str, Any]] = []
        self.owned: list[tuple[Key, dict[str, np.ndarray]]] = []
        self.more = Amount()
        of_block: dict[int, list[sa.Row]] = {}
        for row in held:
            if row.block_id is not None:
                of_block.setdefault(row.block_id, []).append(row)
        for part in blocks.read(db, of_block):
            for row in of_block[part.block]:
                key = base_of((row.sample, row.view))
                if part.is_whole(row.place):
                    self.whole.setdefault(key, set()).add(part.signal)
                else:
                    self.damaged.setdefault(key, {})[part.signal] = (part, row.place)

    def take(
        self,
        key: Key,
        values: dict[str, np.ndarray],
        cost: int,
        tokens: int = 0,
        said: Mapping[str, int | None] = NOTHING_SAID,
    ) -> bool:
        """Own what of `values` {signal: array} is not owned of a sample's view; False where there is nothing to take.

        `said`: what the answer said of itself, by column.
        """
        base = self.held.get(key)
        nothing_here = key not in self.whole and key not in self.damaged
        if base is None or base.state == "unknown" or (base.state == "done" and (not base.usable or nothing_here)):
            self._own(key, base, values, cost, tokens, said)
            return True
        if base.state in UNDER_WAY:
            return False
        missing = set(values) - self.whole.get(key, set())
        damaged = self.damaged.get(key, {})
        for signal in missing & set(damaged):
            part, place = damaged[signal]
            if values[signal].shape == part.shape:
                blocks.mend(self.db, part, place, values[signal])
        rest = missing - set(damaged)
        more = further_of(key, rest)
        known = self.held.get(more)
        if rest and not (known is not None and known.state in UNDER_WAY):
            self._own(more, known, {signal: values[signal] for signal in rest}, 0, 0)  # its cost is the view's
        return bool(missing)

    def _own(
        self,
        key: Key,
        known: sa.Row | None,
        values: dict[str, np.ndarray],
        cost: int,
        tokens: int,
        said: Mapping[str, int | None] = NOTHING_SAID,
    ) -> None:
        if known is not None and known.state == "done":  # charged here for an answer of no use: that stays spent
            cost, tokens = max(cost, known.cost), max(tokens, known.tokens)
        charge = {
            "state": "done",
            "cost": cost,
            "tokens": tokens,
            "detail": None,
            "usable": True,
            "ended_at": int(time.time()),
            **said,
        }
        if known is None:
            self.new.append({"teacher_id": self.teacher_id, "sample": key[0], "view": key[1], **charge})
            self.more = Amount(self.more.calls + 1, self.more.tokens + tokens, self.more.cost + cost)
        else:
            self.db.execute(
                calls.update().where(calls.c.id == known.id).values(**charge, reserved_at=None, sent_at=None)
            )
            self.db.execute(rejected.delete().where(rejected.c.call_id == known.id))
            change = Amount(0, tokens - known.tokens, cost - known.cost)
            book(self.db, self.teacher_id, known.run_id, {day_of(known.reserved_at): change})
        self.owned.append((key, values))

    def close(self) -> None:
        """Store what was taken. What is new counts for the teacher's life, and for no day: it was not spent here."""
        if self.new:
            self.db.execute(calls.insert(), self.new)
        where = (calls.c.teacher_id == self.teacher_id, calls.c.state == "done")
        rows = self.db.execute(sa.select(calls.c.id, calls.c.sample, calls.c.view).where(*where)) if self.owned else ()
        id_of = {(row.sample, row.view): row.id for row in rows}
        for start in range(0, len(self.owned), BLOCK):
            some = self.owned[start : start + BLOCK]
            blocks.store(self.db, [(id_of[key], values) for key, values in some])
        book(self.db, self.teacher_id, None, {None: self.more})


def _views(folder: Path, meta: dict[str, Any], rows: int) -> list[str]:
    """Each row's view. Raises UserError where an export of views lacks them, or they are none."""
    if meta.get("view", CLEAN) != FILE:
        return [meta.get("view", CLEAN)] * rows
    views = read_array(folder / FILE)
    if views.dtype.kind not in "iu" or views.shape != (rows, 5):
        raise UserError(f"{folder / FILE}: found {views.dtype} with shape {views.shape}, expected integers ({rows}, 5)")
    try:
        return [to_text(view) for view in views]
    except UserError as error:
        raise UserError(f"{folder / FILE}: {error}") from None


def _check(export: Export, meta: dict[str, Any], ids: np.ndarray) -> None:
    teacher = meta.get("teacher") if isinstance(meta, dict) else None
    if not isinstance(teacher, dict) or "signals" not in meta:
        raise UserError(f"{export.meta}: this is no export; an export's meta.json has teacher and signals")
    if any(
        not isinstance(teacher.get(key), kind)
        for key, kind in (("fingerprint", str), ("name", str), ("description", dict))
    ):
        raise UserError(f"{export.meta}: teacher: needs fingerprint, name (text) and description (a mapping)")
    repeat, samples = (meta.get(key, default) for key, default in (("repeat", 0), ("samples", 1)))
    if not isinstance(repeat, int) or repeat < 0:
        raise UserError(f"{export.meta}: repeat: found {repeat!r}, expected the number of an answer, from 0 on")
    if samples != 1:
        raise UserError(
            f"{export.meta}: its rows are made of {samples} answers each; the answers themselves are below {export.path / 'repeats'}"
        )
    names = meta["signals"]
    if (
        not isinstance(names, list)
        or not names
        or any(not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) for name in names)
    ):
        raise UserError(f"{export.meta}: signals: found {names!r}, expected a list of plain names")
    if not all(isinstance(one, str) for one in meta.get("classes", [])):
        raise UserError(f"{export.meta}: classes: found {meta['classes']!r}, expected a list of names")
    if not isinstance(meta.get("view", CLEAN), str):
        raise UserError(f"{export.meta}: view: found {meta['view']!r}, expected text")
    hexadecimal = re.compile(rb"[0-9a-f]{64}")
    if ids.dtype != np.dtype("S64") or ids.ndim != 1 or any(not hexadecimal.fullmatch(one) for one in ids):
        raise UserError(f"{export.ids}: found {ids.dtype}; an export's ids are 64 hex characters (S64)")


def _check_values(path: Path, values: np.ndarray, rows: int, kinds: str, partial: bool = False) -> None:
    """Raises UserError where values are not `rows` of these kinds, or not numbers; of `partial` ones NaN is what is not known."""
    if values.dtype.kind not in kinds or values.ndim < 1 or len(values) != rows:
        raise UserError(f"{path}: found {values.dtype} with shape {values.shape}, but ids.npy has {rows} rows")
    known = np.isfinite(values) if not partial else np.isfinite(values).any(axis=-1) & ~np.isinf(values).any(axis=-1)
    if not known.all() or ("f" not in kinds and (values.ndim != 1 or (values < 0).any())):
        raise UserError(f"{path}: holds NaN, infinity or a negative cost; this is no export of the ledger")

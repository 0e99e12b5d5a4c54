"""Exports back into a ledger: what they hold becomes owned, what is damaged or lost here is mended, and nothing owned is touched."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from stages.arrays import read_array, read_json
from stages.errors import UserError
from stages.ledger.accounts import open_account
from stages.ledger.calls import CLEAN, checksum, key_of, type_of
from stages.ledger.database import Ledger
from stages.ledger.owned import further, with_further
from stages.ledger.schema import LIVE, calls, outputs, rejected, teachers

UNDER_WAY = ("reserved", "sent")


def import_folder(ledger: Ledger, folder: Path) -> tuple[int, int]:
    """Take an export's outputs into the ledger; returns (samples that brought something, samples that brought nothing).

    Taking one twice changes nothing. A call of this ledger that was unknown, lost or malformed, and an output that is damaged, is
    mended by it; signals that a sample is owned without are added to it. Raises UserError naming the file that does not fit,
    before anything is written.
    """
    meta, ids = read_json(folder / "meta.json"), read_array(folder / "ids.npy")
    _check(folder, meta, ids)
    n = len(ids)
    signals = {signal: read_array(folder / f"{signal}.npy") for signal in meta["signals"]}
    costs = read_array(folder / "costs.npy")
    for name, values in signals.items():
        _check_values(folder / f"{name}.npy", values, n, "fu")
    _check_values(folder / "costs.npy", costs, n, "iu")
    teacher = meta["teacher"]
    with ledger.read() as db:  # the cap that is set here stays
        cap = db.scalar(sa.select(teachers.c.cap).where(teachers.c.fingerprint == teacher["fingerprint"]))
    id = open_account(ledger, teacher["fingerprint"], teacher["name"], teacher["description"], cap)
    view = meta.get("view", CLEAN)
    with ledger.write() as db:
        books = _Books(db, id, teacher["fingerprint"], view)
        taken = sum(
            books.take(
                bytes.fromhex(ids[i].decode()), {name: values[i] for name, values in signals.items()}, int(costs[i])
            )
            for i in range(n)
        )
    return taken, n - taken


class _Books:
    """One teacher's live calls for a view and what was bought further of it, within one transaction."""

    def __init__(self, db: sa.Connection, teacher_id: int, fingerprint: str, view: str):
        self.db, self.teacher_id, self.fingerprint, self.view = db, teacher_id, fingerprint, view
        where = (calls.c.teacher_id == teacher_id, calls.c.state.in_(LIVE))
        of = with_further(view)
        self.held = {(row.sample, row.view): row for row in db.execute(sa.select(calls).where(*where, of))}
        self.whole: dict[bytes, set[str]] = {}  # by sample: signals whose output is here and not damaged
        self.damaged: dict[bytes, dict[str, int]] = {}  # by sample and signal: the call
        columns = (calls.c.id, calls.c.sample, outputs.c.signal, outputs.c.payload, outputs.c.checksum)
        for row in db.execute(sa.select(*columns).join(outputs, outputs.c.call_id == calls.c.id).where(*where, of)):
            if checksum(row.payload) == row.checksum:
                self.whole.setdefault(row.sample, set()).add(row.signal)
            else:
                self.damaged.setdefault(row.sample, {})[row.signal] = row.id

    def take(self, sample: bytes, values: dict[str, np.ndarray], cost: int) -> bool:
        """Own what of `values` {signal: array} is not owned of a sample; False where there is nothing to take."""
        base = self.held.get((sample, self.view))
        nothing_here = sample not in self.whole and sample not in self.damaged
        if base is None or base.state == "unknown" or (base.state == "done" and (base.detail or nothing_here)):
            self._own(sample, self.view, base, values, cost)
            return True
        if base.state in UNDER_WAY:
            return False
        missing = set(values) - self.whole.get(sample, set())
        for signal in missing & set(self.damaged.get(sample, {})):
            call = self.damaged[sample][signal]
            self.db.execute(outputs.delete().where(outputs.c.call_id == call, outputs.c.signal == signal))
            self._store(call, signal, values[signal])
        rest = missing - set(self.damaged.get(sample, {}))
        view = further(self.view, rest)
        known = self.held.get((sample, view))
        if rest and not (known is not None and known.state in UNDER_WAY):
            self._own(sample, view, known, {signal: values[signal] for signal in rest}, 0)  # its cost is the sample's
        return bool(missing)

    def _own(self, sample: bytes, view: str, known: Any, values: dict[str, np.ndarray], cost: int) -> None:
        charge = {"state": "done", "cost": cost, "detail": None, "ended_at": time.time()}
        if known is None:
            key = key_of(self.fingerprint, sample.hex(), view)
            new = calls.insert().values(teacher_id=self.teacher_id, sample=sample, view=view, key=key, **charge)
            call = self.db.scalar(new.returning(calls.c.id))
            mine = teachers.c.id == self.teacher_id
            self.db.execute(teachers.update().where(mine).values(spent=teachers.c.spent + 1))
        else:
            call = known.id
            self.db.execute(calls.update().where(calls.c.id == call).values(**charge))
            self.db.execute(rejected.delete().where(rejected.c.call_id == call))
        for signal, value in values.items():
            self._store(call, signal, value)

    def _store(self, call: int | None, signal: str, value: np.ndarray) -> None:
        payload = np.ascontiguousarray(value).tobytes()
        stored = {"type": type_of(value), "payload": payload, "checksum": checksum(payload)}
        self.db.execute(outputs.insert().values(call_id=call, signal=signal, **stored))


def _check(folder: Path, meta: Any, ids: np.ndarray) -> None:
    teacher = meta.get("teacher") if isinstance(meta, dict) else None
    if not isinstance(teacher, dict) or "signals" not in meta:
        raise UserError(f"{folder / 'meta.json'}: this is no export; an export's meta.json has teacher and signals")
    if any(
        not isinstance(teacher.get(key), kind)
        for key, kind in (("fingerprint", str), ("name", str), ("description", dict))
    ):
        raise UserError(f"{folder / 'meta.json'}: teacher: needs fingerprint, name (text) and description (a mapping)")
    names = meta["signals"]
    if (
        not isinstance(names, list)
        or not names
        or any(not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) for name in names)
    ):
        raise UserError(f"{folder / 'meta.json'}: signals: found {names!r}, expected a list of plain names")
    if not isinstance(meta.get("view", CLEAN), str):
        raise UserError(f"{folder / 'meta.json'}: view: found {meta['view']!r}, expected text")
    hexadecimal = re.compile(rb"[0-9a-f]{64}")
    if ids.dtype != np.dtype("S64") or ids.ndim != 1 or any(not hexadecimal.fullmatch(one) for one in ids):
        raise UserError(f"{folder / 'ids.npy'}: found {ids.dtype}; an export's ids are 64 hex characters (S64)")
    if len(np.unique(ids)) < len(ids):
        raise UserError(f"{folder / 'ids.npy'}: the same id stands there twice")


def _check_values(path: Path, values: np.ndarray, rows: int, kinds: str) -> None:
    if values.dtype.kind not in kinds or values.ndim < 1 or len(values) != rows:
        raise UserError(f"{path}: found {values.dtype} with shape {values.shape}, but ids.npy has {rows} rows")
    if not np.isfinite(values).all() or ("f" not in kinds and (values.ndim != 1 or (values < 0).any())):
        raise UserError(f"{path}: holds NaN, infinity or a negative cost; this is no export of the ledger")

"""Owned outputs as files that anyone can open, and such files back into a ledger.

An export is a folder: `ids.npy` (n,) content ids as 64 hex characters, one `<signal>.npy` (n, …) a signal, `costs.npy` (n,)
int64 in millionths, and `meta.json` with the teacher. `outputs/<budget>/` is such a folder, so a clone that has pulled it
can give its outputs back to a new ledger.
"""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from stages.arrays import read_array, read_json, write_array, write_json
from stages.errors import UserError
from stages.ledger import owned
from stages.ledger.accounts import find, open_account
from stages.ledger.calls import CLEAN, checksum, key_of, type_of
from stages.ledger.database import Ledger
from stages.ledger.schema import LIVE, calls, outputs, rejected, teachers


def export(ledger: Ledger, folder: Path, fingerprint: str | None, samples: Sequence[str] | None = None) -> int:
    """Write the teacher's owned outputs (all, or those of `samples`) to `folder`; returns how many samples."""
    teacher = find(ledger, fingerprint)
    if samples is None:
        with ledger.read() as db:
            where = (
                calls.c.teacher_id == teacher.id,
                calls.c.state == "done",
                calls.c.detail.is_(None),
                calls.c.view == CLEAN,
            )
            samples = [
                sample.hex() for sample in db.scalars(sa.select(calls.c.sample).where(*where).order_by(calls.c.id))
            ]
    places, signals, costs = owned.read(ledger, teacher.id, samples)
    write(folder, [samples[i] for i in places], signals, costs, teacher_meta(teacher))
    return len(places)


def teacher_meta(teacher: sa.Row) -> dict[str, Any]:
    """What an export says of its teacher."""
    return {"name": teacher.name, "fingerprint": teacher.fingerprint, "description": json.loads(teacher.description)}


def write(
    folder: Path, ids: Sequence[str], signals: dict[str, np.ndarray], costs: np.ndarray, teacher: dict, **more: Any
) -> None:
    """Write an export folder; `more` joins its meta.json."""
    write_array(folder / "ids.npy", np.array(ids, dtype="S64"))
    write_array(folder / "costs.npy", costs)
    for signal, values in signals.items():
        write_array(folder / f"{signal}.npy", values)
    write_json(
        folder / "meta.json", {"teacher": teacher, "view": CLEAN, "signals": sorted(signals), "n": len(ids), **more}
    )


def import_folder(ledger: Ledger, folder: Path) -> tuple[int, int]:
    """Take an export's outputs into the ledger; returns (taken, already owned). Taking one twice changes nothing.

    A call of this ledger that was unknown or lost, or whose output is damaged, is mended by it. Raises UserError naming the
    file that does not fit, before anything is written.
    """
    meta, ids = read_json(folder / "meta.json"), read_array(folder / "ids.npy")
    _check(folder, meta, ids)
    n = len(ids)
    signals = {signal: read_array(folder / f"{signal}.npy") for signal in meta["signals"]}
    costs = read_array(folder / "costs.npy")
    for name, values in signals.items():
        _check_values(folder / f"{name}.npy", values, n, "f")
    _check_values(folder / "costs.npy", costs, n, "iu")
    teacher = meta["teacher"]
    with ledger.read() as db:  # the cap that is set here stays
        cap = db.scalar(sa.select(teachers.c.cap).where(teachers.c.fingerprint == teacher["fingerprint"]))
    id = open_account(ledger, teacher["fingerprint"], teacher["name"], teacher["description"], cap)
    taken = 0
    with ledger.write() as db:
        view = meta.get("view", CLEAN)
        where = (calls.c.teacher_id == id, calls.c.view == view, calls.c.state.in_(LIVE))
        held = {row.sample: row for row in db.execute(sa.select(calls).where(*where))}
        damaged = _damaged(db, id)
        for i in range(n):
            sample = bytes.fromhex(ids[i].decode())
            row = held.get(sample)
            owned_already = row is not None and row.state == "done" and not row.detail and row.id not in damaged
            if owned_already or (row is not None and row.state in ("reserved", "sent")):
                continue
            charge = {"state": "done", "cost": int(costs[i]), "detail": None, "ended_at": time.time()}
            if row is None:
                key = key_of(teacher["fingerprint"], sample.hex(), view)
                new = calls.insert().values(teacher_id=id, sample=sample, view=view, key=key, **charge)
                call_id = db.scalar(new.returning(calls.c.id))
                db.execute(teachers.update().where(teachers.c.id == id).values(spent=teachers.c.spent + 1))
            else:
                call_id = row.id
                db.execute(calls.update().where(calls.c.id == call_id).values(**charge))
                db.execute(outputs.delete().where(outputs.c.call_id == call_id))
                db.execute(rejected.delete().where(rejected.c.call_id == call_id))
            for signal, array in signals.items():
                payload = np.ascontiguousarray(array[i]).tobytes()
                stored = {"type": type_of(array[i]), "payload": payload, "checksum": checksum(payload)}
                db.execute(outputs.insert().values(call_id=call_id, signal=signal, **stored))
            taken += 1
    return taken, n - taken


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


def _damaged(db: sa.Connection, teacher_id: int) -> set[int]:
    """Ids of calls with an output that does not match its checksum."""
    columns = (outputs.c.call_id, outputs.c.payload, outputs.c.checksum)
    rows = db.execute(
        sa.select(*columns).join(calls, calls.c.id == outputs.c.call_id).where(calls.c.teacher_id == teacher_id)
    )
    return {row.call_id for row in rows if checksum(row.payload) != row.checksum}

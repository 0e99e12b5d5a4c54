"""Owned outputs as files that anyone can open; `imports` takes them back into a ledger.

An export is a folder: `ids.npy` (n,) content ids as 64 hex characters, one `<signal>.npy` (n, …) a signal, `costs.npy` (n,)
int64 in millionths, and `meta.json` with the teacher. `outputs/<budget>/` is such a folder, so a clone that has pulled it
can give its outputs back to a new ledger.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from stages.arrays import write_array, write_json
from stages.errors import unknown
from stages.ledger import owned
from stages.ledger.accounts import find
from stages.ledger.calls import CLEAN
from stages.ledger.database import Ledger
from stages.ledger.schema import calls


def export(
    ledger: Ledger, folder: Path, fingerprint: str | None, wanted: Sequence[str] | None = None
) -> tuple[int, dict[str, int]]:
    """Write the teacher's owned outputs to `folder`: the signals `wanted`, or else those that every sample has.

    Returns how many samples are in it, and what it leaves out: {signal: of how many samples}.
    """
    teacher = find(ledger, fingerprint)
    with ledger.read() as db:
        done = (calls.c.teacher_id == teacher.id, calls.c.state == "done", calls.c.detail.is_(None))
        where = (*done, calls.c.view == CLEAN)
        samples = [sample.hex() for sample in db.scalars(sa.select(calls.c.sample).where(*where).order_by(calls.c.id))]
    held = owned.signals(ledger, teacher.id, samples)
    count = Counter(signal for names in held.values() for signal in names)
    taken = set(wanted or [signal for signal, number in count.items() if number == len(held)])
    if missing := taken - set(count):
        raise unknown("signals", ", ".join(sorted(missing)), count)
    places, signals, costs = owned.read(ledger, teacher.id, samples, signals=taken)
    write(folder, [samples[i] for i in places], signals, costs, teacher_meta(teacher))
    return len(places), {signal: number for signal, number in count.items() if signal not in taken}


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

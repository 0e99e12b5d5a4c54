"""Owned outputs as files that anyone can open; `imports` takes them back into a ledger.

An export is a folder: `ids.npy` (n,) content ids as 64 hex characters, `asked_ids.npy` those of what the teacher was shown, where that
was not the original but what students see, one `<signal>.npy` (n, …) a signal, `costs.npy` (n,)
int64 in millionths, and `meta.json` with the teacher. Where views of samples were bought, a row is a view, an id stands there
once for each, and `views.npy` (`tuition/views.py`) says which it is. `outputs/<budget>/` is such a
folder, so a clone that has pulled it can give its outputs back to a new ledger.

Of samples that were asked for several times `repeats/<number>/` is an export of the answers with that number, from 0 on, whose meta.json
has `repeat`. Where meta.json has `samples`, the rows of the folder itself are made of so many answers each, and are no answers.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from tuition.errors import unknown
from tuition.files import write_array, write_json
from tuition.ledger import classes as class_names
from tuition.ledger import owned
from tuition.ledger.accounts import find
from tuition.ledger.database import Ledger
from tuition.ledger.keys import Request
from tuition.ledger.schema import calls
from tuition.views import CLEAN, COLUMNS, FILE, from_text
from tuition.workspace import Export


def export(
    ledger: Ledger, folder: Path, fingerprint: str | None, signals: Collection[str] | None = None
) -> tuple[int, dict[str, int]]:
    """Write the teacher's owned outputs to `folder`: `signals`, or else those that every row has; further answers to the same beside them.

    Returns how many rows (samples, or views of them) are in it, and what it leaves out: {signal: of how many rows}.
    """
    teacher = find(ledger, fingerprint)
    with ledger.read() as db:
        done = (calls.c.teacher_id == teacher.id, calls.c.state == "done", calls.c.usable)
        rows = db.execute(sa.select(calls.c.sample, calls.c.view).where(*done).order_by(calls.c.id))
        answered = [Request.of(row.sample.hex(), row.view) for row in rows]
    requests = [request for request in answered if request.is_of_view]
    further = [one for one in answered if one.repeat and one.repeated(0).is_of_view]
    standing = owned.standing(ledger, teacher.id, requests)
    held = [names for request in requests if (names := standing.signals(request))]
    count = Counter(signal for names in held for signal in names)
    taken = set(signals or [signal for signal, number in count.items() if number == len(held)])
    if missing := taken - set(count):
        raise unknown("signals", ", ".join(sorted(missing)), count)
    places, values, costs = owned.read(ledger, teacher.id, requests, signals=taken)
    known = class_names.read(teacher)
    named: dict[str, Any] = {} if known is None else {"classes": list(known)}
    write(folder, [requests[i] for i in places], values, costs, teacher_meta(teacher), **named)
    for repeat in sorted({one.repeat for one in further}):
        some = [one for one in further if one.repeat == repeat]
        there, values, costs = owned.read(ledger, teacher.id, some, signals=taken)
        target, also = Export(folder).repeat(repeat).path, {**named, "repeat": repeat}
        write(target, [some[i] for i in there], values, costs, teacher_meta(teacher), **also)
    return len(places), {signal: number for signal, number in count.items() if signal not in taken}


def teacher_meta(teacher: sa.Row) -> dict[str, Any]:
    """What an export says of its teacher."""
    return {"name": teacher.name, "fingerprint": teacher.fingerprint, "description": json.loads(teacher.description)}


def write(
    folder: Path,
    requests: Sequence[Request],
    signals: dict[str, np.ndarray],
    costs: np.ndarray,
    teacher: dict,
    views: dict[str, Any] | None = None,
    ids: np.ndarray | None = None,
    **more: Any,
) -> None:
    """Write an export folder of what these requests brought; `more` joins its meta.json.

    `views` says how views were drawn; where it is given, or a request is for a view, the rows have views of their own. `ids` (n,) S64
    are the samples' in the data; None: those of the requests.
    """
    export, texts = Export(folder), [request.view for request in requests]
    asked = np.array([request.sample for request in requests], dtype="S64")
    ids = asked if ids is None else ids
    write_array(export.ids, ids)
    if not np.array_equal(ids, asked):
        write_array(export.asked_ids, asked)
    write_array(export.costs, costs)
    for signal, values in signals.items():
        write_array(export.signal(signal), values)
    meta = {"teacher": teacher, "view": CLEAN, "signals": sorted(signals), "n": len(requests), **more}
    if views is not None or set(texts) - {CLEAN}:
        write_array(export.views, np.array([from_text(text) for text in texts], dtype=np.int32).reshape(-1, 5))
        meta |= {"view": FILE, "views": {"columns": list(COLUMNS), **(views or {})}}
    write_json(export.meta, meta)

"""Replaying what was bought: some rows of outputs/ are made again from the pool, and held against what is filed under them.

Three things are checked of a row: that its sample is in data/train and its view is one that the draw gives; that the ledger, where it
knows the teacher, owns the very same values under this sample and view; and, for a local checkpoint, which answers again for nothing,
that it still answers the same to the image. No other teacher is asked: that may cost.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.bought import Bought
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs, Samples
from tuition.ledger import accounts, database, owned
from tuition.ledger import classes as class_names
from tuition.ledger.keys import Request
from tuition.origins import name as name_of
from tuition.params import Params
from tuition.purchase import combined
from tuition.purchase.repeats import Repeats
from tuition.purchase.views import draw
from tuition.signals import CLASS, family_of
from tuition.teachers import InProcess, fingerprint, load_teacher
from tuition.teachers.kinds import Facts
from tuition.views import to_text
from tuition.workspace import Export, Workspace

BATCH = 64
ROUGH = ("sign", "boundary")  # bits, and a path along gradients: a rounding of the arithmetic may turn them


class Row(NamedTuple):
    """One bought view: a row of an export, its sample's place in the pool (None: not there), and its view (5,)."""

    folder: Export
    row: int
    id: bytes
    asked: bytes
    place: int | None
    view: np.ndarray

    def __str__(self) -> str:
        return f"{self.folder} row {self.row} ({name_of(self.id.decode())}, {to_text(self.view)})"


def replay(number: int, seed: int | None = None, tolerance: float = 1e-3) -> dict[str, Any]:
    """Replay `number` rows at random out of all of outputs/ (all, where there are fewer).

    Returns {replayed: rows, in_ledger: of them are owned there with the same values, asked_again: were answered again, not_asked: {why:
    rows}, largest_difference: of an answer, wrong: what does not fit, in words}. Answers may differ by `tolerance`, absolute and
    relative. Raises UserError where there is nothing to replay.
    """
    params, data, pool = parameters.load(), Workspace().data, Workspace().split("train")
    facts = read_json(data.meta) | read_json(pool.meta)
    inputs = inputs_of(facts)
    samples, ids = inputs.read(pool.path), read_array(pool.ids)
    rows = _chosen(number, seed, ids)
    stored = read_array(pool.stored_ids) if pool.stored_ids.exists() else ids
    wrong = [f"{row}: {why}" for row in rows if (why := _misfit(row, inputs, samples, stored))]
    rows = [row for row in rows if row.place is not None]
    not_asked: dict[str, int] = {}
    if of_originals := [row for row in rows if row.asked != stored[row.place]]:
        not_asked["the teacher was shown the original, which data/ does not hold"] = len(of_originals)
    in_ledger, asked_again, most = 0, 0, 0.0
    local, why_not = _local(params, facts)
    for folder in dict.fromkeys(row.folder for row in rows):
        some = [row for row in rows if row.folder == folder]
        about = read_json(folder.meta)["teacher"]
        in_ledger += _in_ledger(some, about["fingerprint"], wrong)
        some = [row for row in some if row.asked == stored[row.place]]
        if not some:
            continue
        if about["fingerprint"] in local:
            asked_again += len(some)
            seen = Bought(inputs, samples, np.array([row.place for row in some]), np.array([row.view for row in some]))
            most = max(most, _ask_again(some, seen, local[about["fingerprint"]], tolerance, wrong))
        else:
            why = why_not.get(
                about["name"], f"teacher {about['name']!r}, as it was then, is no checkpoint of params.yaml"
            )
            not_asked[why] = not_asked.get(why, 0) + len(some)
    return {
        "replayed": len(rows),
        "in_ledger": in_ledger,
        "asked_again": asked_again,
        "not_asked": not_asked,
        "largest_difference": most,
        "wrong": wrong,
    }


def _chosen(number: int, seed: int | None, ids: np.ndarray) -> list[Row]:
    folders = Workspace().exports()
    sizes = [len(read_array(folder.ids)) for folder in folders]
    if not sum(sizes):
        raise UserError("outputs/: no bought outputs to replay; `dvc repro` buys them, `dvc pull` brings them")
    drawn = np.sort(np.random.default_rng(seed).permutation(sum(sizes))[:number])
    place = {bytes(id): i for i, id in reversed(list(enumerate(ids)))}  # the first of samples with the same content
    ends = np.cumsum(sizes)
    rows = []
    for at in drawn:
        which = int(np.searchsorted(ends, at, side="right"))
        folder, row = folders[which], int(at - ends[which] + sizes[which])
        id = bytes(read_array(folder.ids)[row])
        asked = bytes(read_array(folder.asked_ids)[row]) if folder.asked_ids.exists() else id
        view = read_array(folder.views)[row] if folder.views.exists() else np.zeros(5, dtype=np.int32)
        rows.append(Row(folder, row, id, asked, place.get(id), np.array(view)))
    return rows


def _misfit(row: Row, inputs: Inputs, samples: Samples, stored: np.ndarray) -> str:
    """What is wrong with a row's sample or view; empty where nothing is."""
    if row.place is None:
        return "its sample is not in data/train"
    sample, meta = np.array(samples[row.place]), read_json(row.folder.meta)
    if inputs.content_id(sample) != stored[row.place].decode() or row.asked not in (row.id, stored[row.place]):
        return "the sample in data/train is not that of this content id"
    if "views" in meta:
        how = meta["views"]
        size = inputs.view_size(inputs.facts(sample[None]))
        drawn = draw(row.asked, how["number"], size, how["crop"], how["flip"], meta["seed"])
        if not (drawn == row.view).all(axis=1).any():
            return f"this view is none of the {how['number']} that are drawn for the sample"
    return ""


def _in_ledger(rows: Sequence[Row], fingerprint: str, wrong: list[str]) -> int:
    """How many of an export's rows the ledger owns with the same values; what it owns with others is added to `wrong`."""
    if not database.exists(database.locate()):
        return 0
    ledger = database.open_existing()
    try:
        account = accounts.find(ledger, fingerprint)
    except UserError:  # of another machine: an export needs no ledger
        return 0
    folder = rows[0].folder
    meta = read_json(folder.meta)
    exported = {name: read_array(folder.signal(name)) for name in meta["signals"]}
    by_request = {Request(row.asked.decode(), to_text(row.view)): row for row in rows}
    made, held = _held(ledger, account.id, list(by_request), set(exported), meta)
    known, exported_as = class_names.read(account), meta.get("classes")
    if known is not None and exported_as is not None:
        held = class_names.reordered(held, class_names.order(known, exported_as))
    same = 0
    for at, request in enumerate(made):
        row = by_request[request]
        other = [
            name
            for name, values in exported.items()
            if not np.array_equal(values[row.row], held[name][at], equal_nan=True)
        ]
        same += not other
        if other:
            wrong.append(f"{row}: the ledger owns another {', '.join(other)} under this sample and view")
    return same


def _held(
    ledger: database.Ledger, id: int, requests: list[Request], exported: set[str], meta: dict[str, Any]
) -> tuple[list[Request], dict[str, np.ndarray]]:
    """What the ledger owns of an export's requests, or what is made of it where each was asked for several times, row for row."""
    times, classes = meta.get("samples", 1), len(meta.get("classes", ()))
    bought = exported - {"logits"} if times > 1 and CLASS in exported else exported  # votes are made of classes
    asked = Repeats(times).requests(requests)
    places, held, costs = owned.read(ledger, id, asked, signals=bought)
    made = combined.combine(combined.Answers([asked[place] for place in places], held, costs), times, classes)
    return made.requests, made.signals


def _local(params: Params, facts: Facts) -> tuple[dict[str, InProcess], dict[str, str]]:
    """(the checkpoints of params.yaml by fingerprint, why the other teachers are not asked, by name)."""
    checkpoints: dict[str, InProcess] = {}
    why_not = {}
    for settings in (params.teacher, *params.teachers):
        if settings.kind != "checkpoint":
            why_not[settings.name] = f"teacher {settings.name!r} is of kind {settings.kind}: asking it again may cost"
            continue
        try:
            teacher = load_teacher(settings, facts)
        except UserError as error:
            why_not[settings.name] = f"teacher {settings.name!r} cannot be loaded ({error})"
            continue
        if isinstance(teacher, InProcess):
            checkpoints[fingerprint(teacher.description)] = teacher
    return checkpoints, why_not


def _ask_again(rows: Sequence[Row], seen: Bought, teacher: InProcess, tolerance: float, wrong: list[str]) -> float:
    """The largest difference between what an export holds and what its teacher answers now; too large ones are added to `wrong`."""
    folder = rows[0].folder
    names = [name for name in read_json(folder.meta)["signals"] if family_of(name) not in ROUGH]
    exported = {name: read_array(folder.signal(name)) for name in names if name in teacher.signals}
    most = 0.0
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        answered = teacher.answer_now(seen[start : start + BATCH])
        for at, row in enumerate(some):
            for name, values in exported.items():
                old, new = (np.asarray(one, dtype=np.float64) for one in (values[row.row], answered[name][at]))
                gap = np.abs(new - old)
                most = max(most, float(gap.max(initial=0.0)))
                if (gap > tolerance * (1 + np.abs(old))).any():
                    wrong.append(f"{row}: the teacher's {name} now differs by {gap.max():.3g}")
    return most

"""`outputs/<budget>/`: what can be used of what was bought, as files.

An export holds only what the purchase decides, so that a run that was killed exports the same bytes.
"""

import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.teach.evaluation import SPLITS
from stages.teach.plan import Drawing, Plan
from tuition.errors import UserError
from tuition.files import write_array
from tuition.ledger import accounts, exports, owned
from tuition.ledger.keys import Request
from tuition.params import Teach
from tuition.purchase.account import Account
from tuition.purchase.further import each
from tuition.purchase.own import OpenOrder
from tuition.purchase.plausible import export as plausible
from tuition.signals import ROUNDING, stored_type
from tuition.targets.truth import top_classes
from tuition.workspace import Export, Mixed, Workspace


@dataclass(frozen=True)
class Usable:
    """How many samples' outputs are usable: of `teacher`, and of further teachers by name. Mixed inputs do not count."""

    main: int
    further: dict[str, int]


def export(plan: Plan, teach: Teach, main: OpenOrder, further: dict[str, OpenOrder]) -> Usable:
    """Write the whole of `outputs/<budget>/`; returns how many outputs are usable."""
    folder = Workspace().outputs(plan.budget)
    shutil.rmtree(folder.path, ignore_errors=True)
    how = {"budget": plan.budget, "strategy": teach.strategy, "seed": teach.seed}
    places = _write(main.account, folder, main.order.requests, plan.seen.ids, plan.drawing, how)
    write_array(folder.positions, plan.bought.positions[places])
    if main.order.mixed:
        _write_mixtures(plan, main, folder.mixed, how)
    for split in SPLITS if main.order.evaluation else ():
        _write_evaluation(plan, main, split, how)
    usable = each(
        further,
        lambda name, one: len(
            _write(
                one.account,
                folder.teacher(name),
                one.order.requests,
                plan.further_seen[name].ids_of(one.order.requests),
                plan.drawing,
                how,
            )
        ),
    )
    return Usable(len(places), usable)


def _write_mixtures(plan: Plan, main: OpenOrder, folder: Mixed, how: dict[str, Any]) -> None:
    """Mixed inputs: their outputs, and what an export does not hold: the inputs, what they are mixed of, and the shares."""
    mixtures = plan.mixtures
    rows = np.array(list(mixtures.rows.values()))[_write(main.account, folder, main.order.mixed, None, None, how)]
    plan.bought.inputs.write(folder.path, mixtures.inputs[rows])
    for path, values in (
        (folder.first, mixtures.first),
        (folder.second, mixtures.second),
        (folder.lam, mixtures.share),
    ):
        write_array(path, values[rows])


def _write_evaluation(plan: Plan, main: OpenOrder, split: str, how: dict[str, Any]) -> None:
    """The answers for a split, and the teacher's top class of every sample in it, −1 where there is none."""
    folder, requests = Workspace().outputs(plan.budget).evaluation(split), plan.evaluation.of(split)
    ids = plan.evaluation.ids[split]
    bought = plan.evaluation.seen[split].ids_of(requests)
    top_of = dict(
        zip(bought[_write(main.account, folder, requests, bought, None, how)], top_classes(folder), strict=True)
    )
    write_array(folder.labels, np.array([top_of.get(id, -1) for id in ids], dtype=np.int64))


def _write(
    account: Account,
    folder: Export,
    requests: tuple[Request, ...],
    ids: np.ndarray | None,
    drawing: Drawing | None,
    how: dict[str, Any],
) -> np.ndarray:
    """Write the outputs of `requests` that can be used, and return their places in it.

    `ids` (≥ n,) S64: of the samples, as the data has them; `drawing` says how views were drawn.
    """
    places, signals, costs = owned.read(account.ledger, account.id, requests, signals=account.teacher.signals)
    if not len(places):
        raise UserError(
            f"teacher {account.settings.name!r}: none of the {len(requests)} samples has a usable output; see `tuition ledger status`"
        )
    signals = account.as_data(signals)
    answered = [requests[i] for i in places]
    plausible.write(folder, account, plausible.look(account, answered, signals))
    constants = account.teacher.constants()
    types = {name: np.dtype(stored_type(name)).name for name in signals}
    rounded = {"types": types} | ({"relative_error": ROUNDING} if "float16" in types.values() else {})
    meta = exports.teacher_meta(accounts.find(account.ledger, account.fingerprint))
    named: dict[str, Any] = {"constants": sorted(constants)} if constants else {}
    named |= {"classes": list(account.known.classes)} if account.known.classes else {}
    views = None if drawing is None else dict(drawing)
    mine = None if ids is None else ids[places]
    exports.write(folder.path, answered, signals, costs, meta, views, mine, stored=rounded, **named, **how)
    for name, value in constants.items():
        write_array(folder.signal(name), value)
    return places

"""`outputs/<budget>/`: what can be used of what was bought, as files.

An export holds only what the purchase decides, so that a run that was killed exports the same bytes.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.teach.evaluation import SPLITS
from stages.teach.plan import Drawing, Plan
from tuition.errors import UserError
from tuition.files import write_array
from tuition.ledger import accounts, exports
from tuition.ledger.keys import Request
from tuition.params import Teach
from tuition.purchase import combined
from tuition.purchase.account import Account
from tuition.purchase.further import each
from tuition.purchase.own import OpenOrder
from tuition.purchase.plausible import export as plausible
from tuition.signals import ROUNDING, stored_type
from tuition.targets.truth import top_classes
from tuition.workspace import Export, Mixed, Workspace

IdsOf = Callable[[Sequence[Request]], np.ndarray]  # requests → (n,) S64


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
    rows = _write(main, folder, main.order.requests, plan.seen.ids_of, plan.drawing, how)
    write_array(folder.positions, plan.bought.positions[plan.seen.rows_of(rows)])
    if main.order.mixed:
        _write_mixtures(plan, main, folder.mixed, how)
    for split in SPLITS if main.order.evaluation else ():
        _write_evaluation(plan, main, split, how)
    usable = each(
        further,
        lambda name, one: len(
            _write(one, folder.teacher(name), one.order.requests, plan.further_seen[name].ids_of, plan.drawing, how)
        ),
    )
    return Usable(len(rows), usable)


def _write_mixtures(plan: Plan, main: OpenOrder, folder: Mixed, how: dict[str, Any]) -> None:
    """Mixed inputs: their outputs, and what an export does not hold: the inputs, what they are mixed of, and the shares."""
    mixtures = plan.mixtures
    rows = np.array([mixtures.rows[one] for one in _write(main, folder, main.order.mixed, None, None, how)])
    plan.bought.inputs.write(folder.path, mixtures.inputs[rows])
    for path, values in (
        (folder.first, mixtures.first),
        (folder.second, mixtures.second),
        (folder.lam, mixtures.share),
    ):
        write_array(path, values[rows])


def _write_evaluation(plan: Plan, main: OpenOrder, split: str, how: dict[str, Any]) -> None:
    """The answers for a split, and the teacher's top class of every sample in it, −1 where there is none."""
    folder, ids_of = Workspace().outputs(plan.budget).evaluation(split), plan.evaluation.seen[split].ids_of
    requests = [one for one in main.order.evaluation if plan.evaluation.split_of(one) == split]
    answered = _write(main, folder, requests, ids_of, None, how)
    if not {"label", "logits"} & set(
        main.account.teacher.signals
    ):  # embeddings, by which the teacher's own figures are told
        return
    top_of = dict(zip(ids_of(answered), top_classes(folder), strict=True))
    write_array(folder.labels, np.array([top_of.get(id, -1) for id in plan.evaluation.ids[split]], dtype=np.int64))


def _write(
    opened: OpenOrder,
    folder: Export,
    requests: Sequence[Request],
    ids_of: IdsOf | None,
    drawing: Drawing | None,
    how: dict[str, Any],
) -> list[Request]:
    """Write the outputs of `requests` that can be used, a row a sample (or view); returns the request for each row's first answer.

    `ids_of` gives the samples' ids, as the data has them (None: those that were asked for); `drawing` says how views were drawn.
    """
    account, again = opened.account, opened.order.again if requests is opened.order.requests else ()
    answers = combined.read(account, [*requests, *again])
    made = combined.combine(answers, opened.order.repeats.times, account.classes)
    if not made.requests:
        number = len({one.repeated(0) for one in requests})
        raise UserError(
            f"teacher {account.settings.name!r}: none of the {number} samples has a usable output; see `tuition ledger status`"
        )
    plausible.write(folder, account, *plausible.look(account, answers.requests, answers.signals))
    _write_rows(account, folder, made, ids_of, drawing, how, opened.order.repeats.times)
    for name, value in account.teacher.constants().items():
        write_array(folder.signal(name), value)
    for repeat in opened.order.repeats.apart:
        if (one := combined.only(answers, repeat)).requests:
            _write_rows(account, folder.repeat(repeat), one, ids_of, drawing, how | {"repeat": repeat})
    return made.requests


def _write_rows(
    account: Account,
    folder: Export,
    answers: combined.Answers,
    ids_of: IdsOf | None,
    drawing: Drawing | None,
    how: dict[str, Any],
    times: int = 1,
) -> None:
    """An export folder of these answers; `times`: of how many answers each row is made."""
    requests, signals, costs = answers
    types = {name: np.dtype(stored_type(name)).name for name in signals}
    rounded = {"types": types} | ({"relative_error": ROUNDING} if "float16" in types.values() else {})
    constants = sorted(account.teacher.constants())
    named: dict[str, Any] = {"constants": constants} if constants else {}
    named |= {"classes": list(account.known.classes)} if account.known.classes else {}
    named |= {"samples": times} if times > 1 else {}
    meta = exports.teacher_meta(accounts.find(account.ledger, account.fingerprint))
    views = None if drawing is None else dict(drawing)
    ids = None if ids_of is None else ids_of(requests)
    exports.write(folder.path, requests, signals, costs, meta, views, ids, stored=rounded, **named, **how)

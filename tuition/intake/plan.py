"""`plan`: which of the additions this period's allowance buys, as an order of purchase for `teach`.

Spending once, however often this runs and wherever it is killed, rests on three things. What is bought is read from the ledger, which
counts a call before it is sent, and never from a file of ours. What may be bought is the allowance less all calls that the ledger has
for this teacher in this day, week or month: those of a run that was killed among them. And the order that is written is a function of
both: what is paid for, as it stood, then as many more as may be bought, first those that the last order listed too. So after a kill -9
in the middle of a purchase of 20 of which 7 were sent, the next plan of the period lists those 7 as paid for and the other 13 to be
bought; after a purchase, it lists the same 20 again, which buys nothing, and a study that was broken off goes on. Both files that
`plan` writes are replaced whole: the order first, then params.yaml, which until then names a budget that the new order's head has
paid for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import atomic, read_array, read_json, write_json
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs, Samples
from tuition.intake import account, champion, fits
from tuition.intake.choose import Choice, choose
from tuition.intake.rank import rank
from tuition.params import Params, edits
from tuition.teachers.shown import sends_files, shows_originals
from tuition.workspace import Workspace


@dataclass(frozen=True)
class Additions:
    """The samples of the additions that need a call (n, …), as they are stored, labels (n,), content ids (n,) S64, names of the classes.

    `inputs`: what they are, `pool`: the whole pool's content ids, each with the one by which the teacher is asked for it.
    """

    inputs: Inputs
    samples: Samples
    labels: np.ndarray
    ids: np.ndarray
    classes: list[str]
    pool: dict[str, str]

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, paid: Collection[str]) -> "Additions":
        """Those that are not paid for."""
        rows = np.array([row for row, one in enumerate(self.ids) if one.decode() not in paid], dtype=np.int64)
        return replace(self, samples=self.samples[rows], labels=self.labels[rows], ids=self.ids[rows])


def plan(params: Params, allowance: int, strategy: str) -> dict[str, Any]:
    """Write the order and name it in params.yaml, where there is something to buy; returns what `refresh/plan.json` holds.

    `run` says whether the study is to be brought up to date: something is to be bought, or the last refresh may have been broken off.
    Raises UserError where `data/` is not as params.yaml says, and where a refresh cannot be had.
    """
    from tuition.teachers import fingerprint, load_teacher

    fits.check(params)
    facts = _read_facts(params)
    additions = _read_additions(params, facts)
    teacher = load_teacher(params.teacher, facts)
    mark = fingerprint(teacher.description)
    now = account.standing(mark, additions.pool, teacher, params.refresh.every)
    left = max(0, allowance - now.spent)
    waiting = additions.without(set(now.paid))
    present = champion.find(params.registry.name) if len(waiting) else None
    candidates, ranked_by = _rank(params, strategy, waiting, left, present)
    chosen = _choose(params, now, candidates, left, mark, additions.pool)
    is_refresh = params.teach.strategy == "file" and params.teach.order == str(Workspace().refresh.order)
    run = bool(chosen.order) and (bool(chosen.new) or is_refresh)
    if run:
        _write(params, chosen, list(additions.pool))
    planned = {
        "run": run,
        "new": len(chosen.new),
        "candidates": len(waiting),
        "later": len(waiting) - len(chosen.new),
        "paid_before": len(now.paid),
        "budget": chosen.budget,
        "calls": chosen.calls if run else 0,
        **_period(params, allowance, now, left),
        "strategy": strategy,
        "ranked_by": ranked_by,
        "teacher": params.teacher.name,
        "fingerprint": mark,
        "day": datetime.now(UTC).date().isoformat(),
        "champion": None if present is None else str(present[1].version),
    }
    write_json(Workspace().refresh.plan, planned)
    return planned


def _period(params: Params, allowance: int, now: account.Standing, left: int) -> dict[str, Any]:
    """How the allowance of this day, week or month stands."""
    return {"allowance": allowance, "every": params.refresh.every, "spent_before": now.spent, "left": left}


def _read_facts(params: Params) -> dict[str, Any]:
    """The facts of `data/`. Raises UserError where it was made with other parameters."""
    data, split = Workspace().data, Workspace().split("train")
    meta = read_json(data.meta)
    _check_additions(params, meta)
    fits.check_data(params, meta)
    return meta | read_json(split.meta)


def _read_additions(params: Params, facts: dict[str, Any]) -> Additions:
    """The additions: the last rows of the pool. Raises UserError where the teacher cannot be shown originals as they are."""
    split = Workspace().split("train")
    inputs = inputs_of(facts)
    samples, labels, ids = inputs.read(split.path), read_array(split.labels), read_array(split.ids)
    shown_stored = not (sends_files(params.teacher) or shows_originals(params.teacher, facts))
    asked = read_array(split.stored_ids) if shown_stored and split.stored_ids.exists() else ids
    pool = {id.decode(): one.decode() for id, one in zip(ids.tolist(), asked.tolist(), strict=True)}
    rows = slice(len(ids) - facts.get("additions", 0), None)
    return Additions(inputs, samples[rows], labels[rows], ids[rows], facts["classes"], pool)


def _rank(
    params: Params, strategy: str, waiting: Additions, left: int, present: champion.Champion | None
) -> tuple[list[str], str]:
    """The content ids of what waits, best first, and in words by what. What the last plan chose and did not get stays first."""
    if not (len(waiting) and left):
        return [], "none: there is nothing to rank"
    pool = (waiting.inputs, waiting.samples, waiting.labels, waiting.ids, waiting.classes)
    ranked, by = rank(params, strategy, *pool, left, present)
    unpaid = set(waiting.ids.tolist())
    chosen_before = [one for one in _previous() if one.encode() in unpaid]
    return list(dict.fromkeys([*chosen_before, *ranked])), by


def _choose(
    params: Params, now: account.Standing, candidates: list[str], left: int, fingerprint: str, pool: Mapping[str, str]
) -> Choice:
    recheck = params.teacher.recheck
    return choose(
        _previous(),
        now.paid,
        now.again,
        candidates,
        left,
        recheck,
        lambda first, budget: account.asked_again(fingerprint, [pool[one] for one in first], recheck, budget),
    )


def words(planned: dict[str, Any]) -> str:
    """A plan in a line or two."""
    period = f"{planned['spent_before']} of {planned['allowance']} calls of this {planned['every']} are spent"
    if planned["new"]:
        rest = f"; {planned['later']} wait for another {planned['every']}" if planned["later"] else ""
        return f"{planned['new']} of {planned['candidates']} new samples are to be bought ({planned['ranked_by']}){rest}; {period}"
    if not planned["candidates"]:
        return f"nothing new: all additions are bought already. Nothing is spent; {period}"
    return f"nothing is to be bought: {planned['candidates']} samples wait, but {period}"


def _check_additions(params: Params, meta: dict[str, Any]) -> None:
    made = (meta.get("data", {}).get("additions") or {}).get("digest")
    wanted = params.data.additions.digest if params.data.additions else None
    if made != wanted:
        raise UserError(
            f"data/: made with data.additions {made or 'null'}, params.yaml says {wanted or 'null'}; run `dvc repro prepare` first"
        )


def _previous() -> Sequence[str]:
    """The order of the last refresh; none where there was none. What it says is only about places, never about what is paid for."""
    order = Workspace().refresh.order
    return order.read_text().split() if order.is_file() else []


def _write(params: Params, chosen: Choice, names: list[str]) -> None:
    """Write the order and name it. A budget in which some are asked again buys fewer than it lists: others fill up the list."""
    listed = set(chosen.order)
    more = [one for one in names if one not in listed][: chosen.budget - len(chosen.order)]
    text = "".join(f"{one}\n" for one in [*chosen.order, *more]).encode()
    path = Workspace().refresh.order
    if not path.is_file() or path.read_bytes() != text:
        with atomic(path) as file:
            file.write(text)
    order = str(path)
    values: list[tuple[list[str], object, object]] = [
        (["teach", "strategy"], params.teach.strategy, "file"),
        (["teach", "order"], params.teach.order, order),
        (["teach", "watch"], params.teach.watch, order),
        (["study", "budgets"], params.study.budgets, [chosen.budget]),
    ]
    changed = [(keys, value) for keys, now, value in values if now != value]
    if changed:
        read = edits.parser().load
        edits.apply(
            [
                edits.Edit("refresh", keys, read(str(value)) if isinstance(value, list) else value)
                for keys, value in changed
            ],
            parameters.FILE,
        )

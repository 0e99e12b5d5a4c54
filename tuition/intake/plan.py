"""`plan`: which of the additions this period's allowance buys, as an order of purchase for `teach`.

Spending once, however often this runs and wherever it is killed, rests on three things. What is bought is read from the ledger, which
counts a call before it is sent, and never from a file of ours. What may be bought is the allowance less all calls that the ledger has
for this teacher in this day, week or month: those of a run that was killed among them. And the order that is written is a function of
both: what is paid for, as it stood, then as many more as may be bought. So after a kill -9 in the middle of a purchase of 20 of which
7 were sent, the next plan of the period lists those 7 as paid for and 13 to be bought; after a purchase, it lists the same 20 again,
which buys nothing, and a study that was broken off goes on. Both files that `plan` writes are replaced whole: the order first,
then params.yaml, which until then names a budget that the new order's head has paid for.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import atomic, read_array, read_json, write_json
from tuition.intake import account, champion, fits
from tuition.intake.choose import Choice, choose
from tuition.intake.rank import rank
from tuition.params import Params, edits

ORDER, PLAN = Path("refresh/order.txt"), Path("refresh/plan.json")


def plan(params: Params, allowance: int, strategy: str) -> dict[str, Any]:
    """Write the order and name it in params.yaml, where there is something to buy; returns what `refresh/plan.json` holds.

    `run` says whether the study is to be brought up to date: something is to be bought, or the last refresh may have been broken off.
    Raises UserError where `data/` is not as params.yaml says, and where a refresh cannot be had.
    """
    from tuition.teachers import fingerprint, load_teacher

    fits.check(params)
    pool = Path("data/train")
    meta, facts = read_json(Path("data/meta.json")), read_json(pool / "meta.json")
    _check_additions(params, meta)
    fits.check_data(params, meta)
    images, labels, ids = (read_array(pool / f"{name}.npy") for name in ("images", "labels", "ids"))
    names = list(dict.fromkeys(one.decode() for one in ids.tolist()))
    teacher = load_teacher(params.teacher, meta | facts)
    mark = fingerprint(teacher.description)
    now = account.standing(mark, names, teacher, params.refresh.every)
    left = max(0, allowance - now.spent)
    owned = set(now.paid)
    rows = np.array([row for row in _added(facts, ids) if ids[row].decode() not in owned], dtype=np.int64)
    found = champion.find(params.registry.name) if len(rows) else None
    candidates, ranked_by = (
        rank(params, strategy, images[rows], labels[rows], ids[rows], facts["classes"], left, found)
        if len(rows) and left
        else ([], "none: there is nothing to rank")
    )
    again = params.teacher.recheck
    chosen = choose(
        _previous(),
        now.paid,
        now.again,
        candidates,
        left,
        again,
        lambda first, budget: account.asked_again(mark, first, again, budget),
    )
    ours = params.teach.strategy == "file" and params.teach.order == str(ORDER)
    run = bool(chosen.order) and (bool(chosen.new) or ours)
    if run:
        _write(params, chosen, names)
    told = {
        "run": run,
        "new": len(chosen.new),
        "candidates": len(rows),
        "later": len(rows) - len(chosen.new),
        "paid_before": len(now.paid),
        "budget": chosen.budget,
        "calls": chosen.calls if run else 0,
        "allowance": allowance,
        "every": params.refresh.every,
        "spent_before": now.spent,
        "left": left,
        "strategy": strategy,
        "ranked_by": ranked_by,
        "teacher": params.teacher.name,
        "fingerprint": mark,
        "day": datetime.now(UTC).date().isoformat(),
        "champion": None if found is None else str(found[1].version),
    }
    write_json(PLAN, told)
    return told


def words(told: dict[str, Any]) -> str:
    """A plan in a line or two."""
    period = f"{told['spent_before']} of {told['allowance']} calls of this {told['every']} are spent"
    if told["new"]:
        rest = f"; {told['later']} wait for another {told['every']}" if told["later"] else ""
        return (
            f"{told['new']} of {told['candidates']} new samples are to be bought ({told['ranked_by']}){rest}; {period}"
        )
    if not told["candidates"]:
        return f"nothing new: all additions are bought already. Nothing is spent; {period}"
    return f"nothing is to be bought: {told['candidates']} samples wait, but {period}"


def _added(facts: dict[str, Any], ids: np.ndarray) -> range:
    """The rows of the additions: the last ones."""
    return range(len(ids) - facts.get("additions", 0), len(ids))


def _check_additions(params: Params, meta: dict[str, Any]) -> None:
    made = (meta.get("data", {}).get("additions") or {}).get("digest")
    wanted = params.data.additions.digest if params.data.additions else None
    if made != wanted:
        raise UserError(
            f"data/: made with data.additions {made or 'null'}, params.yaml says {wanted or 'null'}; run `dvc repro prepare` first"
        )


def _previous() -> Sequence[str]:
    """The order of the last refresh; none where there was none. What it says is only about places, never about what is paid for."""
    return ORDER.read_text().split() if ORDER.is_file() else []


def _write(params: Params, chosen: Choice, names: list[str]) -> None:
    """Write the order and name it. A budget in which some are asked again buys fewer than it lists: others fill up the list."""
    listed = set(chosen.order)
    more = [one for one in names if one not in listed][: chosen.budget - len(chosen.order)]
    text = "".join(f"{one}\n" for one in [*chosen.order, *more]).encode()
    if not ORDER.is_file() or ORDER.read_bytes() != text:
        with atomic(ORDER) as file:
            file.write(text)
    order = str(ORDER)
    wanted: list[tuple[list[str], Any, Any]] = [
        (["teach", "strategy"], params.teach.strategy, "file"),
        (["teach", "order"], params.teach.order, order),
        (["teach", "watch"], params.teach.watch, order),
        (["study", "budgets"], params.study.budgets, [chosen.budget]),
    ]
    changed = [(keys, value) for keys, now, value in wanted if now != value]
    if changed:
        read = edits.parser().load
        edits.apply(
            [
                edits.Edit("refresh", keys, read(str(value)) if isinstance(value, list) else value)
                for keys, value in changed
            ],
            parameters.FILE,
        )

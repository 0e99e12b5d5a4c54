"""`python -m stages.teach <budget>`: own the outputs of the first <budget> samples in the order of purchase, and export them.

With `teach.views` the first <budget> views of samples, so many of each; with `teach.mixed` also half as many mixed inputs, to
outputs/<budget>/mixed/; with `teachers` what each of them says of the same, to outputs/<budget>/teachers/<name>/.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuition import params as parameters
from tuition.errors import UserError, run
from tuition.files import read_array, read_json, write_array, write_json
from tuition.inputs.views import Images
from tuition.ledger import accounts, exports, owned
from tuition.ledger.database import open_ledger
from tuition.preflight import check_methods, check_shapes, check_student
from tuition.purchase import mixed, several, views
from tuition.purchase import recheck as drift
from tuition.purchase.account import Account, open_account
from tuition.purchase.purchase import check, own, own_in_rounds
from tuition.purchase.several import Bought
from tuition.selection.order import purchase_order
from tuition.signals import ROUNDING, stored_type


def main(argv: list[str]) -> None:
    params = parameters.load()
    if len(argv) != 1 or not argv[0].isdigit():
        raise UserError(f"python -m stages.teach: found {' '.join(argv)!r}, expected one budget, such as 400")
    budget = int(argv[0])
    pool = Path("data/train")
    facts = read_json(Path("data/meta.json")) | read_json(pool / "meta.json")
    images, labels, ids = (read_array(pool / f"{name}.npy") for name in ("images", "labels", "ids"))
    number, size = params.teach.views, (facts["height"], facts["width"])
    if number > 1:
        views.check(number, size, params.teach.crop, params.teach.flip)
    order = purchase_order(
        params.teach.strategy,
        ids,
        labels,
        params.teach.seed,
        images=images,
        classes=facts["classes"],
        limit=-(-budget // number),
        guide=params.teach.guide,
    )
    if not 1 <= budget <= len(order) * number:
        each = f", each bought in {number} views (teach.views)" if number > 1 else ""
        raise UserError(
            f"study.budgets: {budget} calls, but the pool has {len(order)} distinct samples{each}; valid: 1 to {len(order) * number}"
        )
    teacher, classes = several.load(params.teacher, facts), len(facts["classes"])
    further = several.load_further(params.teachers, facts, teacher)
    check_methods(params, teacher.families, {name: one.families for name, one in further.items()})
    check_student(params, facts)
    if params.teacher.kind == "checkpoint":
        check_shapes(params, facts, teacher)

    recheck = params.teacher.recheck
    asks, positions, drawn_views = views.plan(
        order,
        ids,
        drift.samples_for(budget, recheck),
        number,
        size,
        params.teach.crop,
        params.teach.flip,
        params.teach.seed,
    )
    place, bought = {one: row for row, one in enumerate(asks)}, Images(images, positions, drawn_views)
    drawn = mixed.draw(order, ids, budget if params.teach.mixed and budget > 1 else 0, params.teach.seed)
    blends = mixed.mix(images[drawn[0]], images[drawn[1]], drawn[2])
    blend = {name: row for row, name in enumerate(mixed.names(blends)) if name not in place}

    again = recheck.samples * (len(list(drift.rounds(budget, recheck))) - 1)  # calls that ask the first ones again
    most = (len(asks) + len(blend)) * (2 if teacher.idempotent else 1) + again  # with further signals of what is owned
    ledger = open_ledger()
    account = open_account(ledger, teacher, params.teacher, classes, most)
    check(account, [*asks, *blend], again - drift.calls(account, asks, budget)[0])
    others = several.open_accounts(ledger, params.teachers, further, classes, asks, budget)

    def images_of(some: Sequence[str]) -> np.ndarray:
        return bought[[place[one] for one in some]]

    new = own_in_rounds(account, asks, budget, images_of, f"teach {budget}")
    new_mixed = (
        own(account, list(blend), lambda some: blends[[blend[one] for one in some]], f"teach {budget} mixed")
        if blend
        else 0
    )
    new_others = several.buy(others, asks, budget, images_of)

    folder = Path(f"outputs/{budget}")
    shutil.rmtree(folder, ignore_errors=True)
    more = {"budget": budget, "strategy": params.teach.strategy, "seed": params.teach.seed}
    of_views = {"number": number, "crop": params.teach.crop, "flip": params.teach.flip} if number > 1 else None
    places = _export(account, folder, asks, of_views, **more)
    write_array(folder / "positions.npy", positions[places])
    if blend:
        rows = np.array(list(blend.values()))[_export(account, folder / "mixed", list(blend), None, **more)]
        mixed.write(folder / "mixed", rows, blends, drawn)
    usable = several.each(others, lambda one: len(_export(one, several.folder(folder, one), asks, of_views, **more)))
    of_others = several.each(others, lambda one: Bought(one, usable[one.settings.name], new_others[one.settings.name]))
    _report(Bought(account, len(places), new), budget, asks, list(blend), new_mixed, of_others)


def _export(account: Account, folder: Path, ids: list[str], drawing: dict[str, Any] | None, **more: Any) -> np.ndarray:
    """Write the outputs of `ids` (asks) that can be used, and return their places in it; `drawing` says how views were drawn.

    An export holds only what the purchase decides, so that a run that was killed exports the same bytes.
    """
    places, signals, costs = owned.read(account.ledger, account.id, ids, signals=account.teacher.signals)
    if not len(places):
        raise UserError(
            f"teacher {account.settings.name!r}: none of the {len(ids)} samples has a usable output; see `tuition ledger status`"
        )
    constants = account.teacher.constants()
    types = {name: np.dtype(stored_type(name)).name for name in signals}
    rounded = {"types": types} | ({"relative_error": ROUNDING} if "float16" in types.values() else {})
    meta = exports.teacher_meta(accounts.find(account.ledger, account.fingerprint))
    named: dict[str, Any] = {"constants": sorted(constants)} if constants else {}
    exports.write(folder, [ids[i] for i in places], signals, costs, meta, drawing, stored=rounded, **named, **more)
    for name, value in constants.items():
        write_array(folder / f"{name}.npy", value)
    return places


def _report(
    bought: Bought, budget: int, ids: list[str], blends: list[str], new_mixed: int, others: dict[str, Bought]
) -> None:
    """The spend, as files and in words."""
    account = bought.account
    spend = _spend(bought, budget, ids)
    if blends:
        spend |= {
            "mixed_calls": len(owned.states(account.ledger, account.id, blends)),
            "mixed_cost": owned.cost(account.ledger, account.id, blends),
        }
    of_others = {name: _spend(one, budget, ids) for name, one in others.items()}
    write_json(Path(f"outputs/{budget}/spend.json"), spend | ({"teachers": of_others} if others else {}))
    # Not among the outputs: it depends on when signals were asked for, which changes nothing of what was said.
    now = {name: of_others[name] | _now(one, ids, one.new) for name, one in others.items()}
    told = (
        {"budget": budget} | spend | _now(bought, ids, bought.new + new_mixed) | ({"teachers": now} if others else {})
    )
    write_json(Path(f"spend/{budget}.json"), told)
    and_mixed = f" and {new_mixed} for mixed inputs" if blends else ""
    print(
        f"teach {budget}: {bought.new} new calls{and_mixed}, {bought.usable} outputs owned, ledger {account.ledger.place}"
    )
    _warn(account, budget, ids)
    for name, one in others.items():
        print(f"teach {budget} {name}: {one.new} new calls, {one.usable} outputs owned")
        _warn(one.account, budget, ids)


def _spend(bought: Bought, budget: int, ids: list[str]) -> dict[str, Any]:
    """What a teacher was paid for these asks."""
    account = bought.account
    spend: dict[str, Any] = {
        "calls": len(owned.states(account.ledger, account.id, ids)),
        "cost": owned.cost(account.ledger, account.id, ids),
        "usable": bought.usable,
    }
    asked_again, cost = drift.calls(account, ids, budget)
    return spend | ({"recheck_calls": asked_again, "recheck_cost": cost} if asked_again else {})


def _now(bought: Bought, ids: list[str], new: int) -> dict[str, int]:
    """What this run bought, and how many calls brought further signals of these asks."""
    further = owned.further_calls(bought.account.ledger, bought.account.id, ids)
    return ({"further_calls": further} if further else {}) | {"new_calls": new}


def _warn(account: Account, budget: int, ids: list[str]) -> None:
    """Say which calls gave nothing, and what to do about those whose fate is not known."""
    states = list(owned.states(account.ledger, account.id, ids).values())
    unknown, unusable = states.count("unknown"), states.count("unusable")
    if unusable:
        print(f"  {unusable} calls were charged and gave nothing usable")
    if unknown:
        print(
            f"  {unknown} calls are unknown and count as spent: look at your bill, then\n"
            f"  `tuition ledger resolve charged|refunded`, `dvc repro -f -s teach@{budget}` and `dvc repro`"
        )


if __name__ == "__main__":
    run(main)

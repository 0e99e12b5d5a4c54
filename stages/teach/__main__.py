"""`python -m stages.teach <budget>`: own the outputs of the first <budget> samples in the order of purchase, and export them.

With `teach.mixed` also half as many mixed inputs, to outputs/<budget>/mixed/.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages import params as parameters
from stages.arrays import read_array, read_json, write_array, write_json
from stages.errors import UserError, run
from stages.ledger import accounts, exports, owned
from stages.ledger.database import open_ledger
from stages.preflight import check_methods, check_shapes, check_student
from stages.signals import ROUNDING, stored_type
from stages.teach import drift, mixed, teachers
from stages.teach.account import Account, open_account
from stages.teach.order import purchase_order
from stages.teach.purchase import check, own, own_in_rounds


def main(argv: list[str]) -> None:
    params = parameters.load()
    if len(argv) != 1 or not argv[0].isdigit():
        raise UserError(f"python -m stages.teach: found {' '.join(argv)!r}, expected one budget, such as 400")
    budget = int(argv[0])
    pool = Path("data/train")
    facts = read_json(Path("data/meta.json")) | read_json(pool / "meta.json")
    images, labels, ids = (read_array(pool / f"{name}.npy") for name in ("images", "labels", "ids"))
    order = purchase_order(
        params.teach.strategy, ids, labels, params.teach.seed,
        images=images, classes=facts["classes"], limit=budget, guide=params.teach.guide,
    )  # fmt: skip
    if not 1 <= budget <= len(order):
        raise UserError(
            f"study.budgets: {budget} calls, but the pool has {len(order)} distinct samples; valid: 1 to {len(order)}"
        )
    teacher = teachers.load(params.teacher, facts)
    classes = len(facts["classes"])
    if teacher.classes is not None and teacher.classes != classes:
        raise UserError(
            f"teacher {params.teacher.name!r} knows {teacher.classes} classes, but data has {classes}: {facts['classes'][:12]}"
        )
    check_methods(params, teacher.families)
    check_student(params, facts)
    if params.teacher.kind == "checkpoint":
        check_shapes(params, facts, teacher)

    recheck = params.teacher.recheck
    chosen = order[: drift.samples_for(budget, recheck)]
    position = {ids[i].decode(): int(i) for i in chosen}
    drawn = mixed.draw(order, ids, budget if params.teach.mixed and budget > 1 else 0, params.teach.seed)
    blends = mixed.mix(images[drawn[0]], images[drawn[1]], drawn[2])
    blend = {name: row for row, name in enumerate(mixed.names(blends)) if name not in position}

    again = recheck.samples * (len(list(drift.rounds(budget, recheck))) - 1)  # calls that ask the first ones again
    most = (len(position) + len(blend)) * (
        2 if teacher.idempotent else 1
    ) + again  # with further signals of what is owned
    account = open_account(open_ledger(), teacher, params.teacher, classes, most)
    check(account, [*position, *blend], again - drift.calls(account, list(position), budget)[0])
    new = own_in_rounds(account, list(position), budget, lambda some: _rows(images, position, some), f"teach {budget}")
    new_mixed = (
        own(account, list(blend), lambda some: _rows(blends, blend, some), f"teach {budget} mixed") if blend else 0
    )

    folder = Path(f"outputs/{budget}")
    shutil.rmtree(folder, ignore_errors=True)
    more = {"budget": budget, "strategy": params.teach.strategy, "seed": params.teach.seed}
    places = _export(account, folder, list(position), **more)
    write_array(folder / "positions.npy", chosen[places])
    if blend:
        rows = np.array(list(blend.values()))[_export(account, folder / "mixed", list(blend), **more)]
        mixed.write(folder / "mixed", rows, blends, drawn)
    _report(account, budget, list(position), list(blend), len(places), new, new_mixed)


def _rows(images: np.ndarray, place: dict[str, int], some: Sequence[str]) -> np.ndarray:
    return np.ascontiguousarray(images[[place[one] for one in some]])


def _export(account: Account, folder: Path, ids: list[str], **more: object) -> np.ndarray:
    """Write the outputs of `ids` that can be used, and return their places in it.

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
    named = {"constants": sorted(constants)} if constants else {}
    exports.write(folder, [ids[i] for i in places], signals, costs, meta, stored=rounded, **named, **more)
    for name, value in constants.items():
        write_array(folder / f"{name}.npy", value)
    return places


def _report(
    account: Account, budget: int, ids: list[str], blends: list[str], usable: int, new: int, new_mixed: int
) -> None:
    """The spend, as files and in words."""
    states = list(owned.states(account.ledger, account.id, ids).values())
    unknown, unusable = states.count("unknown"), states.count("unusable")
    spend = {"calls": len(states), "cost": owned.cost(account.ledger, account.id, ids), "usable": usable}
    asked_again, cost = drift.calls(account, ids, budget)
    if asked_again:
        spend |= {"recheck_calls": asked_again, "recheck_cost": cost}
    if blends:
        spend |= {
            "mixed_calls": len(owned.states(account.ledger, account.id, blends)),
            "mixed_cost": owned.cost(account.ledger, account.id, blends),
        }
    write_json(Path(f"outputs/{budget}/spend.json"), spend)
    # Not among the outputs: it depends on when signals were asked for, which changes nothing of what was said.
    further = owned.further_calls(account.ledger, account.id, ids)
    more = {"further_calls": further} if further else {}
    write_json(Path(f"spend/{budget}.json"), {"budget": budget, **spend, **more, "new_calls": new + new_mixed})
    and_mixed = f" and {new_mixed} for mixed inputs" if blends else ""
    print(f"teach {budget}: {new} new calls{and_mixed}, {usable} outputs owned, ledger {account.ledger.place}")
    if unusable:
        print(f"  {unusable} calls were charged and gave nothing usable")
    if unknown:
        print(
            f"  {unknown} calls are unknown and count as spent: look at your bill, then\n"
            f"  `tuition ledger resolve charged|refunded`, `dvc repro -f -s teach@{budget}` and `dvc repro`"
        )


if __name__ == "__main__":
    run(main)

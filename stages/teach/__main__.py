"""`python -m stages.teach <budget>`: own the outputs of the first <budget> samples in the order of purchase, and export them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages import params as parameters
from stages.arrays import read_array, read_json, write_array, write_json
from stages.errors import UserError, run
from stages.ledger import accounts, calls, exports, owned
from stages.ledger.database import Ledger, open_ledger
from stages.preflight import check_methods
from stages.teach import teachers
from stages.teach.buy import buy
from stages.teach.order import purchase_order
from stages.teach.progress import bar


def main(argv: list[str]) -> None:
    params = parameters.load()
    if len(argv) != 1 or not argv[0].isdigit():
        raise UserError(f"python -m stages.teach: found {' '.join(argv)!r}, expected one budget, such as 400")
    budget = int(argv[0])
    pool = Path("data/train")
    facts = read_json(Path("data/meta.json")) | read_json(pool / "meta.json")
    images, labels, ids = (read_array(pool / f"{name}.npy") for name in ("images", "labels", "ids"))
    order = purchase_order(params.teach.strategy, ids, labels, params.teach.seed)
    _check_budget(budget, len(order))

    teacher = teachers.load(params.teacher, facts)
    classes = len(facts["classes"])
    if teacher.classes is not None and teacher.classes != classes:
        raise UserError(
            f"teacher {params.teacher.name!r} knows {teacher.classes} classes, but data has {classes}: {facts['classes'][:12]}"
        )
    check_methods(params, teacher.signals)

    chosen = order[:budget]
    position = {ids[i].decode(): int(i) for i in chosen}
    wanted = list(position)
    ledger = open_ledger()
    fingerprint = teachers.fingerprint(teacher.description)
    account = accounts.open_account(ledger, fingerprint, params.teacher.name, teacher.description, params.teacher.cap)
    calls.settle(ledger, account)  # calls of dead processes that were never sent do not count
    live = owned.states(ledger, account, wanted)  # a call that is sent again is counted already
    _check_cap(ledger, fingerprint, sum(one not in live for one in wanted), params.teacher.cap)

    _check_signals(ledger, account, [one for one in wanted if live.get(one) == "owned"], teacher.signals)

    def images_of(some: Sequence[str]) -> np.ndarray:
        return np.ascontiguousarray(images[[position[one] for one in some]])

    with bar(f"teach {budget}") as progress:
        new = buy(ledger, account, teacher, wanted, images_of, params.teacher, classes, progress)
    _export(ledger, account, fingerprint, budget, wanted, chosen, params, new)


def _check_budget(budget: int, pool: int) -> None:
    if not 1 <= budget <= pool:
        raise UserError(f"study.budgets: {budget} calls, but the pool has {pool} distinct samples; valid: 1 to {pool}")


def _check_cap(ledger: Ledger, fingerprint: str, needed: int, cap: int | None) -> None:
    spent = accounts.find(ledger, fingerprint).spent
    if cap is not None and needed and spent + needed > cap:
        raise UserError(
            f"teacher.cap: {cap} calls in the teacher's life, {spent} are spent and this budget needs {needed} more. Nothing was "
            "sent. Raise teacher.cap or lower study.budgets"
        )


def _check_signals(ledger: Ledger, account: int, held: list[str], signals: Sequence[str]) -> None:
    """What is owned must have the signals that the teacher offers now: exported together they would not fit."""
    found = set(owned.read(ledger, account, held[:1])[1]) if held else set(signals)
    if found != set(signals):
        raise UserError(
            f"teacher: offers {', '.join(signals)}, but what is owned of it has {', '.join(sorted(found))}. Nothing was sent. "
            "Offer the same signals, or change teacher.version: then it is another teacher, whose outputs are bought anew"
        )


def _export(
    ledger: Ledger, account: int, fingerprint: str, budget: int, wanted: list[str], chosen: np.ndarray,
    params: parameters.Params, new: int,
) -> None:  # fmt: skip
    """outputs/<budget>/ holds only what the purchase decides, so that a run that was killed exports the same bytes."""
    places, signals, costs = owned.read(ledger, account, wanted)
    if not len(places):
        raise UserError(
            f"teacher {params.teacher.name!r}: none of the {budget} samples has a usable output; see `tuition ledger status`"
        )
    states = list(owned.states(ledger, account, wanted).values())
    unknown, unusable = states.count("unknown"), states.count("unusable")
    spend = {"calls": len(states), "cost": owned.cost(ledger, account, wanted), "usable": len(places)}
    folder = Path(f"outputs/{budget}")
    shutil.rmtree(folder, ignore_errors=True)
    teacher = exports.teacher_meta(accounts.find(ledger, fingerprint))
    more = {"budget": budget, "strategy": params.teach.strategy, "seed": params.teach.seed}
    exports.write(folder, [wanted[i] for i in places], signals, costs, teacher, **more)
    write_array(folder / "positions.npy", chosen[places])
    write_json(folder / "spend.json", spend)
    write_json(Path(f"spend/{budget}.json"), {"budget": budget, **spend, "new_calls": new})
    print(f"teach {budget}: {new} new calls, {len(places)} outputs owned, ledger {ledger.place}")
    if unusable:
        print(f"  {unusable} calls were charged and gave nothing usable")
    if unknown:
        print(
            f"  {unknown} calls are unknown and count as spent: look at your bill, then\n"
            f"  `tuition ledger resolve charged|refunded`, `dvc repro -f -s teach@{budget}` and `dvc repro`"
        )


if __name__ == "__main__":
    run(main)

"""What was spent: `outputs/<budget>/spend.json`, which follows from the budget, `spend/<budget>.json`, which also says what this run
bought, and both in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuition.files import write_json
from tuition.ledger.owned import Standing
from tuition.purchase.ended import unknown_in_words
from tuition.purchase.own import OpenOrder
from tuition.workspace import Workspace

Spend = dict[str, Any]  # as `tuition/spend.py` reads it


@dataclass(frozen=True)
class Bought:
    """What came of asking one teacher: how its requests stand now, its usable outputs, new calls (for mixed inputs apart), and of how many
    texts it was not shown all."""

    open_order: OpenOrder
    after: Standing
    usable: int
    new: int
    new_mixed: int = 0
    new_evaluation: int = 0
    shortened: int = 0


def write_bill(budget: int, main: Bought, further: Mapping[str, Bought]) -> None:
    """The spend, as files."""
    spend = _spend(main)
    mixed = main.open_order.order.mixed
    if mixed:
        spend |= {"mixed_calls": len(main.after.states(mixed)), "mixed_cost": main.after.cost(mixed)}
    held_out = main.open_order.order.evaluation
    if held_out:
        spend |= {"evaluation_calls": len(main.after.states(held_out)), "evaluation_cost": main.after.cost(held_out)}
    of_further = {name: _spend(one) for name, one in further.items()}
    write_json(Workspace().outputs(budget).spend, spend | ({"teachers": of_further} if further else {}))
    # Not among the outputs: it depends on when signals were asked for, which changes nothing of what was answered.
    now = {name: of_further[name] | _now(one) for name, one in further.items()}
    write_json(
        Workspace().spend(budget),
        {"budget": budget} | spend | _now(main) | ({"teachers": now} if further else {}),
    )


def print_bill(budget: int, main: Bought, further: Mapping[str, Bought]) -> None:
    """The spend, in words."""
    order, ledger = main.open_order.order, main.open_order.account.ledger
    and_mixed = f" and {main.new_mixed} for mixed inputs" if order.mixed else ""
    and_mixed += f" and {main.new_evaluation} for validation and test" if order.evaluation else ""
    print(f"teach {budget}: {main.new} new calls{and_mixed}, {main.usable} outputs owned, ledger {ledger.place}")
    _print_warnings(budget, main)
    for name, one in further.items():
        print(f"teach {budget} {name}: {one.new} new calls, {one.usable} outputs owned")
        _print_warnings(budget, one)


def _spend(bought: Bought) -> Spend:
    """What a teacher was paid for these requests."""
    order, after = bought.open_order.order, bought.after
    spend: Spend = {
        "calls": len(states := list(after.states(order.requests).values())),
        "cost": after.cost(order.requests),
        "usable": bought.usable,
    }
    spend |= {f"{fate}_calls": states.count(fate) for fate in ("unknown", "unusable") if fate in states}
    spend |= {"shortened_texts": bought.shortened} if bought.shortened else {}
    repeated = len(after.states(one for one in order.requests if one.repeat))
    spend |= {"repeat_calls": repeated} if repeated else {}
    again = len(after.states(order.again))
    return spend | ({"recheck_calls": again, "recheck_cost": _cost_by_round(bought)} if again else {})


def _cost_by_round(bought: Bought) -> float:
    """What asking again cost, summed up round by round."""
    return sum((bought.after.cost(one.again) for one in bought.open_order.order.rounds if one.again), 0.0)


def _now(bought: Bought) -> Spend:
    """What this run bought, and how many calls brought further signals of these requests."""
    further = bought.after.further_calls(bought.open_order.order.requests)
    return ({"further_calls": further} if further else {}) | {
        "new_calls": bought.new + bought.new_mixed + bought.new_evaluation
    }


def _print_warnings(budget: int, bought: Bought) -> None:
    """Say which calls gave nothing, and what to do about those whose fate is not known."""
    states = list(bought.after.states(bought.open_order.order.requests).values())
    unknown, unusable = states.count("unknown"), states.count("unusable")
    if bought.shortened:
        print(f"  {bought.shortened} texts were cut to teacher.max_text_tokens")
    if unusable:
        print(f"  {unusable} calls were charged and gave nothing usable")
    if unknown:
        for line in unknown_in_words(bought.open_order.account, bought.open_order.order.requests, bought.after):
            print(f"  {line}")
        print(
            f"  {unknown} calls are unknown and count as spent: look at your bill, then\n"
            f"  `tuition ledger resolve charged|refunded`, `dvc repro -f -s teach@{budget}` and `dvc repro`"
        )

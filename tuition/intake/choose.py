"""Which samples a period's allowance buys, as a function of what is known: no file, no clock, no ledger."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tuition.params.bounds import Recheck
from tuition.purchase.recheck import rounds, samples_for


@dataclass(frozen=True)
class Choice:
    order: list[str]  # content ids: what is paid for, then what is to be bought
    new: list[str]  # its end
    budget: int  # calls that own all of it: its length, and what asking again takes
    calls: int  # of them still to be made


def choose(
    previous: Sequence[str],
    paid: Sequence[str],
    again: Collection[str],
    candidates: Sequence[str],
    left: int,
    recheck: Recheck,
    asked_again: Callable[[Sequence[str], int], int],
) -> Choice:
    """The first of `candidates` (best first) that fit into `left` calls, behind all that is paid for.

    `previous` is the order of the last refresh: what was bought keeps its place there, so that nothing changes where nothing is new;
    what else is `paid` follows in its own order. Of `again`, which will be sent again at a call each, as many as fit go first.
    `asked_again(first samples, budget)` says how many calls by which `recheck` repeats the first samples were made.
    """
    known = set(paid)
    kept = [one for one in dict.fromkeys([*previous, *paid]) if one in known]
    repeated = [one for one in kept if one in again][: max(0, left)]
    order = [one for one in kept if one not in again or one in set(repeated)]
    room = max(0, left - len(repeated))
    for count in range(min(len(candidates), room), -1, -1):
        whole = [*order, *candidates[:count]]
        budget = _budget(len(whole), recheck)
        later = len(list(rounds(budget, recheck))) - 1 if budget else 0  # rounds that begin with asking again
        first = whole[: recheck.samples]
        repeats = max(0, recheck.samples * later - asked_again(first, budget)) if later else 0
        if count + repeats <= room:
            return Choice(whole, whole[len(order) :], budget, len(repeated) + count + repeats)
    return Choice([], [], 0, 0)  # not even what is paid for can be had: asking it again takes more than is left


def _budget(samples: int, recheck: Recheck) -> int:
    """The least budget that owns so many samples."""
    budget = samples
    while budget and samples_for(budget, recheck) < samples:
        budget += 1
    return budget

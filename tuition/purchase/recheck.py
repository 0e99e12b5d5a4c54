"""Whether the teacher still says what it said: the first samples are asked again now and then, within the budget.

A budget of B calls is spent in rounds of `teacher.recheck.every`; each round but the first begins with asking the first
`teacher.recheck.samples` samples in the order of purchase again. Each such call is made once, under a view of its own, so that a
smaller budget is part of a larger one here, too.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tuition.errors import UserError
from tuition.ledger import owned
from tuition.params.teacher import Recheck
from tuition.purchase.account import Account


def samples_for(budget: int, recheck: Recheck) -> int:
    """How many samples a budget of so many calls buys, beside the answers that are asked for again."""
    return max(until for _, until in rounds(budget, recheck))


def rounds(budget: int, recheck: Recheck) -> Iterator[tuple[int, int]]:
    """(number of the round from 1 on, samples that are owned when it ends), in order."""
    last = _rounds(budget, recheck)
    for number in range(1, last + 1):
        spent = budget if recheck.every is None else min(budget, number * recheck.every)
        yield number, spent - recheck.samples * (number - 1)


def _rounds(budget: int, recheck: Recheck) -> int:
    if recheck.every is None or budget <= recheck.every:
        return 1
    whole, rest = divmod(budget, recheck.every)
    return whole + (rest > recheck.samples)  # a round that would only ask again is left out, its calls unspent


def view_of(number: int) -> str:
    """The view under which the samples are asked again as round `number` begins."""
    return f"again {number}"


def check(account: Account, ids: Sequence[str], number: int, ask: Callable[[Sequence[str], str], int]) -> int:
    """Ask the first of `ids` again (`ask(samples, view)`) as round `number` begins, and compare with what is owned.

    Returns how many new calls `ask` took. Raises UserError where an answer changed by more than `teacher.recheck.tolerance`, and says
    how; also when it was asked for earlier: nothing more is bought of a teacher that drifted.
    """
    settings = account.settings.recheck
    some, view = list(ids[: settings.samples]), view_of(number)
    made = ask(some, view)
    places, before, _ = owned.read(account.ledger, account.id, some)
    again, now, _ = owned.read(account.ledger, account.id, some, view)
    signal = "logits" if "logits" in before else next(iter(sorted(before)), None)
    both = [i for i in places if i in set(again)]
    if signal is None or signal not in now or not both:
        return made
    old = before[signal][[list(places).index(i) for i in both]]
    new = now[signal][[list(again).index(i) for i in both]]
    change = changes(old, new, signal == "logits")
    worst = np.argsort(-change)
    beyond = [i for i in worst if change[i] > settings.tolerance]
    if beyond:
        told = "; ".join(_told(some[both[i]], old[i], new[i], change[i], signal) for i in beyond[:3])
        raise UserError(
            f"teacher {account.settings.name!r} drifted: {len(beyond)} of {len(both)} answers to samples that were asked before changed by "
            f"more than teacher.recheck.tolerance {settings.tolerance:g} ({told}). No more calls are sent. If it is another model now, "
            "change teacher.version: its outputs are then other outputs; if it is only less exact than that, raise the tolerance"
        )
    return made


def changes(old: np.ndarray, new: np.ndarray, logits: bool) -> np.ndarray:
    """How far answers (n, …) are from earlier ones, (n,): of logits the largest change of a probability, else relative (L2)."""
    if logits:
        return np.abs(_probabilities(new) - _probabilities(old)).max(axis=1)
    flat = [one.reshape(len(one), -1).astype(np.float64) for one in (old, new)]
    return np.linalg.norm(flat[1] - flat[0], axis=1) / np.maximum(np.linalg.norm(flat[0], axis=1), 1e-12)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _told(sample: str, old: np.ndarray, new: np.ndarray, change: float, signal: str) -> str:
    if signal != "logits":
        return f"sample {sample[:16]}: {signal} changed by {change:.3g} of its norm"
    then, now = _probabilities(old[None])[0], _probabilities(new[None])[0]
    said = f"class {then.argmax()} with {then.max():.3f}, now class {now.argmax()} with {now.max():.3f}"
    return f"sample {sample[:16]}: {said}, largest change {change:.3f}"


def calls(account: Account, ids: Sequence[str], budget: int) -> tuple[int, float]:
    """(how many calls ask again within this budget and are in the ledger, what they cost)."""
    settings = account.settings.recheck
    number, cost = 0, 0.0
    for round, _ in rounds(budget, settings):
        if round > 1:
            some = list(ids[: settings.samples])
            number += len(owned.states(account.ledger, account.id, some, view_of(round)))
            cost += owned.cost(account.ledger, account.id, some, view_of(round))
    return number, cost

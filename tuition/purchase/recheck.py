"""Whether the teacher still says what it said: the first samples are asked again now and then, within the budget.

A budget of B calls is spent in rounds of `teacher.recheck.every`; each round but the first begins with asking the first
`teacher.recheck.samples` samples in the order of purchase again. Each such call is made once, as a request of that
round, so that a smaller budget is part of a larger one here, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuition.errors import UserError
from tuition.ledger import owned
from tuition.ledger.keys import Request
from tuition.origins import name
from tuition.params.bounds import Recheck
from tuition.purchase.account import Account
from tuition.targets.classes import probabilities


@dataclass(frozen=True)
class Round:
    """`number` from 1 on; it begins with the requests `again`, and `until` so many requests are owned when it ends."""

    number: int
    until: int
    again: tuple[Request, ...] = ()


def plan_rounds(requests: Sequence[Request], budget: int, recheck: Recheck) -> tuple[Round, ...]:
    """The rounds in which `budget` calls buy `requests`, in the order of purchase."""
    first = requests[: recheck.samples]
    return tuple(
        Round(number, until, tuple(one.again(number) for one in first) if number > 1 else ())
        for number, until in rounds(budget, recheck)
    )


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


def check(account: Account, again: Sequence[Request]) -> None:
    """Compare the answers to `again`, which are owned, with the first answers to the same.

    Raises UserError where an answer changed by more than `teacher.recheck.tolerance`, and says how; also when it was asked for earlier:
    nothing more is bought of a teacher that drifted.
    """
    tolerance = account.settings.recheck.tolerance
    first = [one.again(0) for one in again]
    places_before, before, _ = owned.read(account.ledger, account.id, first)
    places_now, now, _ = owned.read(account.ledger, account.id, again)
    before, now = account.as_data(before), account.as_data(now)
    signal = "logits" if "logits" in before else next(iter(sorted(before)), None)
    both = [i for i in places_before if i in set(places_now)]
    if signal is None or signal not in now or not both:
        return
    old = before[signal][[list(places_before).index(i) for i in both]]
    new = now[signal][[list(places_now).index(i) for i in both]]
    change = changes(old, new, signal)
    beyond = [i for i in np.argsort(-change) if change[i] > tolerance]
    if beyond:
        examples = "; ".join(_described(first[both[i]], old[i], new[i], change[i], signal) for i in beyond[:3])
        raise UserError(
            f"teacher {account.settings.name!r} drifted: {len(beyond)} of {len(both)} answers to samples that were asked before changed by "
            f"more than teacher.recheck.tolerance {tolerance:g} ({examples}). No more calls are sent. If it is another model now, "
            "change teacher.version: its outputs are then other outputs; if it is only less exact than that, raise the tolerance"
        )


def changes(old: np.ndarray, new: np.ndarray, signal: str) -> np.ndarray:
    """How far answers (n, …) are from earlier ones, (n,): of logits the largest change of a probability, of a class 0 or 1, else
    relative (L2)."""
    if signal == "label":
        return (old != new).astype(np.float64)
    if signal == "logits":
        return np.abs(probabilities(new) - probabilities(old)).max(axis=1)
    flat = [one.reshape(len(one), -1).astype(np.float64) for one in (old, new)]
    return np.linalg.norm(flat[1] - flat[0], axis=1) / np.maximum(np.linalg.norm(flat[0], axis=1), 1e-12)


def _described(request: Request, old: np.ndarray, new: np.ndarray, change: float, signal: str) -> str:
    sample = name(request.sample)
    if signal == "label":
        return f"{sample}: class {int(old)}, now class {int(new)}"
    if signal != "logits":
        return f"{sample}: {signal} changed by {change:.3g} of its norm"
    then, now = probabilities(old[None])[0], probabilities(new[None])[0]
    classes = f"class {then.argmax()} with {then.max():.3f}, now class {now.argmax()} with {now.max():.3f}"
    return f"{sample}: {classes}, largest change {change:.3f}"

"""What has to be paid for a list of samples, and paying it: new samples, and further signals of samples that are owned without them."""

from collections.abc import Sequence

from tuition.errors import UserError
from tuition.ledger import accounts, owned
from tuition.ledger.calls import CLEAN
from tuition.ledger.spending import Amount
from tuition.params.teacher import REMOTE, Price
from tuition.purchase import buy, remote
from tuition.purchase import recheck as drift
from tuition.purchase.account import Account, worst
from tuition.purchase.buy import ImagesOf
from tuition.purchase.progress import bar


def lacking(account: Account, ids: Sequence[str]) -> dict[str, list[str]]:
    """What is to be bought of `ids` (content ids): by view the samples, those without any call under `clean`."""
    states = owned.states(account.ledger, account.id, ids)
    have = owned.signals(account.ledger, account.id, [one for one in ids if states.get(one) == "owned"])
    wanted, views = set(account.teacher.signals), {CLEAN: [one for one in ids if states.get(one) != "owned"]}
    for one, names in have.items():
        if wanted - names:
            views.setdefault(owned.further(CLEAN, wanted - names), []).append(one)
    return views


def check(account: Account, ids: Sequence[str], more: int = 0) -> None:
    """Refuse, before anything is sent, what does not fit the teacher's cap (with `more` calls), or would pay twice for owned samples.

    Further signals of owned samples are bought only where asking again is free: an idempotent teacher without a price.
    """
    settings, needed = account.settings, more
    for view, some in lacking(account, ids).items():
        known = owned.states(account.ledger, account.id, some, view)
        missing = [one for one in some if one not in known]
        needed += len(missing)
        if view != CLEAN and missing and not (account.teacher.idempotent and settings.price == Price()):
            have = owned.signals(account.ledger, account.id, missing[:1])[missing[0]]
            raise UserError(
                f"teacher: offers {', '.join(account.teacher.signals)}, but {len(missing)} samples are owned with "
                f"{', '.join(sorted(have))} alone, and asking again may be charged. Nothing was sent. Offer no more than these "
                "signals, or change teacher.version: then it is another teacher, whose outputs are bought anew"
            )
    teacher = accounts.find(account.ledger, account.fingerprint)
    life, each = account.caps.life, worst(settings)
    if settings.price.of_tokens:  # then a call may come to less
        each = Amount(1)
    for unit, key, spent in (("calls", "cap", teacher.spent), ("cost", "cap.money", teacher.spent_cost)):
        limit, one = getattr(life, unit), getattr(each, unit)
        if limit is not None and needed and spent + needed * one > limit:
            scale, words = (1e6, "") if unit == "cost" else (1, " calls")
            raise UserError(
                f"teacher.{key}: {limit / scale:g}{words} in the teacher's life, {spent / scale:g} are spent and this budget needs "
                f"{needed * one / scale:g} more. Nothing was sent. Raise teacher.{key} or lower study.budgets"
            )


def own_in_rounds(account: Account, ids: Sequence[str], budget: int, images_of: ImagesOf, title: str) -> int:
    """As `own`, asking the first samples again now and then where `teacher.recheck` says so; `ids` are what `budget` has room for."""
    new = 0
    for number, until in drift.rounds(budget, account.settings.recheck):
        if number > 1:
            new += drift.check(
                account, ids, number, lambda some, view: _bought(account, some, images_of, f"{title}: {view}", view)
            )
        new += own(account, ids[:until], images_of, title)
    return new


def own(account: Account, ids: Sequence[str], images_of: ImagesOf, title: str) -> int:
    """Buy what `ids` lack, `images_of(ids)` giving their (B, C, H, W) uint8; returns how many new calls that took."""
    new = _bought(account, lacking(account, ids)[CLEAN], images_of, title)
    later = {view: some for view, some in lacking(account, ids).items() if view != CLEAN}
    if later:
        check(account, ids)  # another process may have brought some of them meanwhile, with fewer signals
    for view, some in later.items():
        signals = view.removeprefix(f"{CLEAN}+").split(",")
        new += _bought(account, some, images_of, f"{title}: {', '.join(signals)}", view, signals)
    return new


def _bought(
    account: Account,
    ids: Sequence[str],
    images_of: ImagesOf,
    title: str,
    view: str = CLEAN,
    signals: Sequence[str] | None = None,
) -> int:
    how = remote.buy if account.settings.kind in REMOTE else buy.buy
    with bar(title, account) as progress:
        return how(account, ids, images_of, progress, view, signals)

"""What became of the calls of a purchase, in words."""

from collections import Counter
from collections.abc import Sequence

from tuition.ledger import accounts, owned
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.purchase.account import Account

MOST_REASONS = 5  # that are told


def unknown_in_words(account: Account, requests: Sequence[Request], standing: Standing) -> list[str]:
    """Why calls among `requests` are unknown, a line for each reason: "3 × TimeoutError: no answer in time"."""
    ids = [standing.position(one).call for one, state in standing.states(requests).items() if state == "unknown"]
    reasons: Counter[str] = accounts.reasons(account.ledger, ids)
    lines = [f"{count} × {reason}" for reason, count in reasons.most_common(MOST_REASONS)]
    left = sum(reasons.values()) - sum(count for _, count in reasons.most_common(MOST_REASONS))
    return lines + ([f"{left} × other reasons"] if left else [])


def interrupted_in_words(account: Account, requests: Sequence[Request], before: Standing) -> str:
    """What an interrupted purchase leaves behind: "12 of 40 answers came and are owned, 2 calls are unknown …, 26 were not sent"."""
    now = owned.standing(account.ledger, account.id, requests)
    came = [one for one in requests if before.position(one) != now.position(one)]
    states = Counter(now.states(came).values())
    told = [f"{states['owned']} answers came and are owned"]
    if states["unusable"]:
        told.append(f"{states['unusable']} cannot be used")
    if states["unknown"]:
        told.append(
            f"{states['unknown']} calls are unknown and count as spent (`tuition ledger unknown`): "
            + "; ".join(unknown_in_words(account, came, now))
        )
    left = sum(now.state(one) is None for one in requests)
    told.append(f"{left} were never sent and cost nothing. Run again to go on")
    return ", ".join(told)

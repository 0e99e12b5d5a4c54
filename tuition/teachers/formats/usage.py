"""What a server of chat completions says of the tokens that it charged for."""

from typing import Any


def token_counts(usage: object, whole: bool = True) -> tuple[int | None, int | None, int]:
    """(tokens of the question, tokens of the answer, those among the latter that only the total counts), as far as `usage` says.

    A model that thinks may leave its thoughts out of the parts and charge for them in the total. Where the total is larger than the sum of
    its parts, the difference counts as part of the answer; not `whole`: the parts count as they are. A part that is missing is what
    the total leaves for it.
    """
    if not isinstance(usage, dict):
        return None, None, 0
    asked, said, total = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    if total is None or not whole or (asked is None and said is None):
        return asked, said, 0
    if asked is None or said is None:
        rest = max(0, total - (asked or 0) - (said or 0))
        return (rest, said, 0) if asked is None else (asked, rest, 0)
    beyond = max(0, total - asked - said)
    return asked, said + beyond, beyond


def _count(number: Any) -> int | None:
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None

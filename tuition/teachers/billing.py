"""Whether a refusal says that the account is empty, which no waiting mends: of the body of an answer, or of a client's exception."""

import json
from collections.abc import Iterator
from contextlib import suppress

BILLING = frozenset(  # the codes and types of errors that come with a 429 and say that the account is empty
    {
        "insufficient_quota",
        "insufficient_credits",
        "insufficient_balance",
        "insufficient_funds",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_too_low",
        "payment_required",
    }
)


def code_of_body(body: bytes | str) -> str | None:
    """The code of an error that says that nothing more is paid for; None where the body has none."""
    try:
        return _code_of(json.loads(body)["error"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def code_of_exception(error: BaseException) -> str | None:
    """The same of what a client raised, or of what a user's own error was raised for; no client is imported to know its errors.

    Clients keep the error as `code` or `type`, the answer's object or its text as `body`, or the answer as `response`.
    """
    return next((code for one in _with_causes(error) if (code := _code_of_one(one))), None)


def _code_of_one(error: BaseException) -> str | None:
    found = None
    with suppress(Exception):  # attributes of a stranger's class may do anything
        body = getattr(error, "body", None)
        found = _code_of({name: getattr(error, name, None) for name in ("code", "type")})
        if isinstance(body, dict):
            found = found or _code_of(body) or _code_of(body.get("error"))
        elif isinstance(body, bytes | str):
            found = found or code_of_body(body)
        found = found or code_of_body(error.response.content)  # type: ignore[attr-defined]
    return found


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        yield one
        seen.append(one)
        one = one.__cause__ or one.__context__


def _code_of(error: object) -> str | None:
    said = [error.get(name) for name in ("code", "type")] if isinstance(error, dict) else [error]
    return next((one for one in said if isinstance(one, str) and one in BILLING), None)

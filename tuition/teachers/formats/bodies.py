"""What to make of the body of an answer: an object, or words on why it is none."""

import json
from typing import Any


class Malformed(ValueError):
    """An answer that cannot be used. The text says why, and what to change where that is known.

    `spoilt`: it came cut off or garbled, so that the same question may bring a whole one.
    """

    def __init__(self, text: str, spoilt: bool = False):
        super().__init__(text)
        self.spoilt = spoilt


def json_object(body: bytes | str, what: str = "") -> dict[str, Any]:
    """The JSON object in `body`; Malformed where there is none, with `what` before its words. NaN and Infinity, which some servers write,
    are let through."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what}not JSON ({type(error).__name__}): {shown(body)}", spoilt=True) from None
    if not isinstance(value, dict):
        raise Malformed(f"{what}JSON, but not an object: {shown(body)}")
    return value


def status_of_error(answer: dict[str, Any]) -> int | None:
    """The status that an answer's `error` names as its `code`, as gateways pass on what a provider said; None where it names none.

    An answer that has anything beside the error, choices or tokens that were used, was worked on: its error has no status.
    """
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if answer.get("choices") or answer.get("usage") or isinstance(code, bool):
        return None
    if isinstance(code, str) and code.isascii() and code.isdecimal():
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def shown(value: object, length: int = 200) -> str:
    """The beginning of `value`, for a message: one line, at most about `length` characters."""
    text = value[: 4 * length].decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = " ".join(text.split())
    return repr(text if len(text) <= length else f"{text[:length]}…")

"""What one attempt comes to: answered, surely refused, uncertain, or a stop until the user mends something.

Only what surely was not processed is `refused` or `stop`: those calls are given back, and a wrong guess would be paid twice. What
is done next is not decided here.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from tuition.teachers.billing import code_of_body
from tuition.teachers.http.address import Address
from tuition.teachers.http.transport import Failure, Response

MEND = {
    400: "teacher.kind, teacher.options, teacher.model or teacher.resize: the server cannot use the question",
    402: "teacher.api_key_env: the key's account has to be paid for",
    404: "teacher.url or teacher.model: the server knows no such place or model",
    405: "teacher.url or teacher.kind: this is not where such a server is asked",
    413: "teacher.batch_size or teacher.resize: the request is too large for the server",
    415: "teacher.kind or teacher.format: the server does not take this type of content",
    422: "teacher.kind, teacher.options, teacher.model or teacher.resize: the server cannot use the question",
    501: "teacher.url or teacher.kind: the server has nothing that does this",
    505: "teacher.url: the server does not speak HTTP/1.1",
}
REFUSED = (425, 429, 503)
UNSURE = (408, 409)  # processed by halves, or under way under the same key; 5xx are unsure too


@dataclass(frozen=True)
class Outcome:
    """What one attempt comes to. `text` is for people and holds no secret.

    `wait`: seconds that the server asks to be left alone, where it does.
    """

    fate: Literal["answered", "refused", "uncertain", "stop"]
    text: str = ""
    wait: float | None = None


def outcome_of(result: Response | Failure, address: Address, key_variable: str | None, reached: bool) -> Outcome:
    """What an attempt with this `result` comes to. `reached`: the server has answered before: its address and certificates are right."""
    if isinstance(result, Failure):
        return _of_failure(result, address, reached)
    status = result.inner or result.status
    if 200 <= status < 300:
        return Outcome("answered")
    said = f"{result.status} with an error {status}" if result.inner else f"{status}"
    text = f"{address.place} answered {said}{_beginning(result.body, address)}"
    if status in REFUSED and (code := code_of_body(result.body)):
        return Outcome("stop", f"{_about_the_bill(key_variable)} ({code}): {text}")
    if status in REFUSED:
        return Outcome("refused", text, retry_after(result.headers))
    if 300 <= status < 400:
        target = address.secrets.hide(result.headers.get("Location", "").partition("?")[0])
        target = re.sub(r"//[^/@]*@", "//", target)
        return Outcome(
            "stop", f"teacher.url: redirects are not followed; give the address itself: {text} to {target or 'nowhere'}"
        )
    if status in (401, 403):
        return Outcome("stop", f"{_about_the_key(key_variable)}: {text}")
    if status in MEND or (400 <= status < 500 and status not in UNSURE):
        return Outcome(
            "stop", f"{MEND.get(status, 'teacher.url or teacher.kind: the server refuses the question')}: {text}"
        )
    return Outcome("uncertain", text, retry_after(result.headers))


def _of_failure(failure: Failure, address: Address, reached: bool) -> Outcome:
    said = address.secrets.hide(failure.text)
    if failure.left:
        what = "no answer in time from" if failure.reason == "late" else "no whole answer from"
        return Outcome("uncertain", f"{what} {address.place} ({said})")
    if failure.reason == "unsendable":
        return Outcome(
            "stop", f"teacher.url or teacher.format: no request could be made of it for {address.place} ({said})"
        )
    if failure.reason == "tls" and (not reached or "CERTIFICATE_VERIFY_FAILED" in said):
        return Outcome(
            "stop",
            f"teacher.url: no secure connection to {address.place} ({said}). Check https or http, the host's name and its "
            "certificate; SSL_CERT_FILE may name a file of authorities",
        )
    if not reached:
        return Outcome(
            "stop",
            f"teacher.url: {address.place} cannot be reached ({said}). Check host and port, and that the server runs",
        )
    return Outcome("refused", f"{address.place} cannot be reached ({said})")


def _about_the_bill(variable: str | None) -> str:
    whose = f" of the key in {variable}" if variable else ""
    return f"teacher.api_key_env: the account{whose} has no quota or money left, which no waiting mends; see to its plan or its limit"


def _about_the_key(variable: str | None) -> str:
    if variable is None:
        return "teacher.api_key_env: not set, and the server wants a key; name the environment's variable that holds it"
    return f"teacher.api_key_env: the server does not accept the key in {variable}"


def _beginning(body: bytes, address: Address, length: int = 300) -> str:
    """The first words of a body in one line; secrets are hidden first, so that none is cut in two."""
    text = " ".join(address.secrets.hide_bytes(body).decode(errors="replace").split())
    text = "".join(one if one.isprintable() else "·" for one in text[: length + 1])
    return f": {text[:length]}{'…' if len(text) > length else ''}" if text else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header: a number, or a date minus the server's own (else our) clock; None where it has no sense."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until, now = _seconds_of(value), _seconds_of(headers.get("Date", ""))
        if until is None:
            return None
        return max(0.0, until - (time.time() if now is None else now))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_of(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

"""The few requests that are made of Prefect's server without importing Prefect, which takes seconds."""

import base64
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

from tuition.addresses import shown, split_user
from tuition.errors import Unreachable, UserError

TIMEOUT = 30.0
BUSY = (429, 503)  # Prefect's answer while its database is locked; its own client asks again, too
PAUSES = (0.5, 1, 2, 4, 8)  # seconds between attempts


def without_user(url: str) -> str:
    """The address of Prefect's server. Raises UserError where a user and a password are in it: Prefect would show them in its messages."""
    if split_user("PREFECT_API_URL", url)[0] != url:
        raise UserError(
            "PREFECT_API_URL: it has a user and a password in it, which are not shown; give them as PREFECT_API_AUTH_STRING=user:password, "
            f"and here the address alone: {shown(url)}"
        )
    return url


def url_answers(url: str, timeout: float = 5.0) -> bool:
    """Whether an HTTP GET of `url` succeeds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=_headers()), timeout=timeout):
            return True
    except (OSError, ValueError):
        return False


class Busy(Unreachable):
    """The server answers, and says that it cannot just now."""


def request_json(api: str, method: str, path: str, body: Any = None) -> Any:
    """The JSON that Prefect's API at `api` answers; None where there is no such thing (404). A busy server is asked again.

    Raises Unreachable where no server answers in time, UserError where it refuses.
    """
    for pause in PAUSES:
        try:
            return _once(api, method, path, body)
        except Busy:
            time.sleep(pause)
    return _once(api, method, path, body)


def _once(api: str, method: str, path: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **_headers()}
    request = urllib.request.Request(api.rstrip("/") + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        told = error.read()[:500].decode(errors="replace")
        kind = Busy if error.code in BUSY else UserError
        raise kind(f"PREFECT_API_URL: {api} refused {method} {path} ({error.code}): {shown(told)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"PREFECT_API_URL: no Prefect server answers at {api} ({reason})") from None
    return json.loads(text) if text else None


def _headers() -> dict[str, str]:
    """Credentials as Prefect's own client sends them."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}

"""The few requests that are made of Prefect's server without importing Prefect, which takes seconds."""

import base64
import json
import os
import urllib.error
import urllib.request
from typing import Any

from stages.errors import Unreachable, UserError

TIMEOUT = 10.0


def answers(url: str, timeout: float = 5.0) -> bool:
    """Whether an HTTP GET of `url` succeeds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=_headers()), timeout=timeout):
            return True
    except (OSError, ValueError):
        return False


def ask(api: str, method: str, path: str, body: Any = None) -> Any:
    """The JSON that Prefect's API at `api` answers; None where there is no such thing (404).

    Raises Unreachable where no server answers in time, UserError where it refuses.
    """
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
        raise UserError(f"PREFECT_API_URL: {api} refused {method} {path} ({error.code}): {told}") from None
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

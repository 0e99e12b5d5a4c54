"""Addresses with a user and a password in them: what of one may be shown, and keeping the rest out of every text."""

import html
import json
import re
from urllib.parse import quote, unquote, urlsplit

from tuition.errors import UserError

HIDDEN = "[hidden]"
ESCAPE = "write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and % as %25"
# A user, perhaps with a password, up to the last @ that may end it: a password may hold anything where nobody escaped it.
_USER = re.compile(r"(?<=://)(?:[^\s'\"/?#@:]*:[^\s'\"]*|[^\s'\"/?#]*)@")
_SECRET = re.compile(r"([?&][^\s'\"=&]*(?:pass|pwd|secret|token|key)[^\s'\"=&]*=)[^\s'\"&]*", re.IGNORECASE)


class Secrets:
    """Hides secrets in texts and bytes, also where they are escaped as in URLs, JSON, HTML and Python; shows none itself."""

    def __init__(self, *values: str):
        forms = {form for value in values if value for form in _escaped(value)}
        self._forms = sorted(forms, key=len, reverse=True)  # a secret that holds another one first

    def hide(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def hide_bytes(self, raw: bytes) -> bytes:
        for form in self._forms:
            raw = raw.replace(form.encode(), HIDDEN.encode())
        return raw

    def __repr__(self) -> str:
        return f"Secrets({len(self._forms)} forms)"


def shown(text: str) -> str:
    """A text as it may be shown: the addresses in it have no user, no password and no secret in their query any more."""
    return _SECRET.sub(r"\1***", _USER.sub("", text))


def split_user(where: str, url: str) -> tuple[str, str, str]:
    """An http(s) address without its user and password, and both, unescaped. `where` names who gave it.

    Raises UserError where it cannot be told what belongs to them.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise unescaped(where) from None
    if "@" not in parts.netloc:
        if ":" in parts.netloc and "@" in f"{parts.query}#{parts.fragment}":
            raise unescaped(where)
        return url, "", ""
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return parts._replace(netloc=host).geturl(), unquote(name), unquote(password)


def check_database(where: str, url: str) -> None:
    """UserError where the password in a database's URL holds an @ as it is, so that what is behind that would be taken for the host."""
    scheme, _, rest = url.partition("://")
    behind = re.match(r"[^:/@]*(?:@[^:/@]*)*:[^@]*@(.*)", rest, re.DOTALL)
    if behind is None or scheme.startswith("sqlite"):
        return
    place, _, query = behind[1].partition("?")
    if "@" in place or any("@" in part.partition("=")[0] for part in query.split("&")):
        raise unescaped(where)


def unescaped(where: str) -> UserError:
    return UserError(
        f"{where}: its user or password, which are not shown, hold a character that an address gives another meaning: {ESCAPE}"
    )


def _escaped(value: str) -> set[str]:
    return {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], html.escape(value), repr(value)[1:-1]}

"""Where a remote teacher is asked, as whom, and what of that must never be shown: parsed once, from `teacher.url` and the environment."""

import base64
import ipaddress
import os
import urllib.request
from urllib.parse import unquote, urlsplit

from tuition.addresses import ESCAPE, Secrets, split_user
from tuition.errors import UserError
from tuition.params.teacher import ServerSettings


class Address:
    """`place` is the address as it may be shown: no user, no password, no query. `headers` hold what the server knows us by."""

    def __init__(self, settings: ServerSettings, header: tuple[str, str]):
        """`header`: the name of the header that takes the key of `teacher.api_key_env`, and its value with {} for the key.

        Raises UserError for a URL that is none, for a variable that is not set or holds what no header can, and for two identities.
        """
        url, user, password = split_user("teacher.url", settings.url or "")
        parts = urlsplit(url)
        self.host, port = parts.hostname or "", parts.port
        if parts.scheme not in ("http", "https") or not self.host:
            raise UserError(
                f"teacher.url: not a URL; expected http://host:port or https://host; of a user and password in it {ESCAPE}"
            )
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.tls = parts.scheme == "https"
        self.place = f"{parts.scheme}://{name}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
        self._query = parts.query
        key = _key(settings.api_key_env)
        if key and (user or password):
            raise UserError(
                "teacher.url: it has a user in it and teacher.api_key_env is set; only one of them can be sent"
            )
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
        self.headers: dict[str, str] = {}
        if key:
            self.headers[header[0]] = header[1].replace("{}", key)
        elif basic:
            self.headers["Authorization"] = f"Basic {basic}"
        self.proxy, of_proxy = (None, "") if self.loopback else _proxy(self.host, self.tls)
        self.secrets = Secrets(key, password or user, basic, parts.query, of_proxy)

    def to(self, path: str) -> str:
        """The whole address of a request, its query with it: not to be shown."""
        path, _, query = path.partition("?")
        query = "&".join(one for one in (self._query, query) if one)
        return f"{self.place}{path}{f'?{query}' if query else ''}"

    @property
    def loopback(self) -> bool:
        """Whether this is the machine itself, which no proxy can reach."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __repr__(self) -> str:
        return f"Address({self.place!r})"


def _proxy(host: str, tls: bool) -> tuple[str | None, str]:
    """The proxy that the environment names for this host (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), and its password."""
    named = urllib.request.getproxies()
    proxy = named.get("https" if tls else "http") or named.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return None, ""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        variable = "HTTPS_PROXY" if tls else "HTTP_PROXY"
        raise UserError(
            f"{variable} (or ALL_PROXY): expected http://host:port, it is not shown; NO_PROXY={host} goes without"
        )
    return parts.geturl(), unquote(parts.password or parts.username or "")


def _key(variable: str | None) -> str:
    """The key in the environment's `variable`; "" where no variable is named."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"teacher.api_key_env: the environment has no variable {variable}, or an empty one; export {variable} with the key in it"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"teacher.api_key_env: the key in {variable} has characters that no header can have, such as a line break; it is not shown"
        )
    return key

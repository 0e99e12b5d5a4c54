"""kind `http`: a wire format of the user's own, `teacher.format: module:Class`; modules are looked for in the current folder first.

The class is made with (settings, data) and has `request(images, keys) -> HttpRequest`, of texts with a list of `str`, and
`read(body, headers, keys) -> Reply`. It may have `signals` (default: logits, or label where `teacher.answers` is labels), `options()`
(default: `teacher.options`), `probes()`, `check(path, status, body)`, `authorization` and `inner_status(body, headers)`
(`http/format.py`).
What it reads it may give under the name that `teacher.answers` has:
{"labels": […]}, {"top-k": […]}. docs/your_teacher.md has one to start from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.imports import make_named
from tuition.inputs.kinds import inputs_of
from tuition.params.teacher import HttpSettings
from tuition.targets.answers import Classes
from tuition.teachers.answers import as_reply, signals_of
from tuition.teachers.custom import named_signals
from tuition.teachers.http.format import BEARER, Format, HttpRequest
from tuition.teachers.protocol import Reply, Stop

NEEDED = ("request", "read")


class OwnFormat:
    """The user's format with what it leaves out."""

    def __init__(self, named: str, own: Format, settings: HttpSettings, data: dict[str, Any]):
        self.named, self.own, self.settings, self.names = named, own, settings, Classes(data["classes"])
        self.inputs = inputs_of(data)
        where = f"teacher.format: {named}"
        self.signals = named_signals(where, signals_of(where, settings.form, getattr(own, "signals", None)))
        self.authorization = _authorization(named, own)
        self.keyed = getattr(own, "keyed", False) is True
        self.inner_status = getattr(own, "inner_status", None)

    def options(self) -> dict[str, Any]:
        """What the class says of itself, and which class it is: by its name, so that an edited comment costs nothing."""
        given = self.own.options() if hasattr(self.own, "options") else self.settings.options
        try:
            json.dumps(given)
        except (TypeError, ValueError) as error:
            raise UserError(f"teacher.format: {self.named}: options() is not JSON: {error}") from None
        form = self.settings.form
        return {"format": self.named, **({"answers": form} if form != self.settings.scores else {}), **dict(given)}

    def request(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        made = self.own.request(self.inputs.handed(inputs), keys)
        if not isinstance(made, HttpRequest):
            raise UserError(
                f"teacher.format: {self.named}: request() returned {type(made).__name__}, expected HttpRequest(path, content, headers)"
            )
        return made

    def read(self, body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> Reply:
        reply = self.own.read(body, headers, keys)
        if not isinstance(reply, Reply):
            return Reply(malformed=f"{self.named}: read() returned {type(reply).__name__}, expected Reply", raw=body)
        if reply.malformed or self.settings.form not in reply.signals or self.settings.form == "logits":
            return reply
        read = as_reply(reply.signals, self.settings.form, len(keys), self.names)
        return replace(
            reply, signals=read.signals, malformed=read.malformed, raw=read.raw or reply.raw, faults=read.faults
        )

    def probes(self) -> list[str]:
        return list(self.own.probes()) if hasattr(self.own, "probes") else []

    def check(self, path: str, status: int, body: bytes) -> None:
        if hasattr(self.own, "check"):
            self.own.check(path, status, body)
        elif status >= 400:
            raise Stop(f"teacher.url: its {path} answers {status}")


def _authorization(named: str, own: Format) -> tuple[str, str]:
    given = getattr(own, "authorization", BEARER)
    if not (
        isinstance(given, tuple) and len(given) == 2 and all(isinstance(one, str) for one in given) and "{}" in given[1]
    ):
        raise UserError(
            f"teacher.format: {named}: authorization: expected a header's name and its value with {{}} for the key, such as "
            "('X-Api-Key', '{}')"
        )
    return given


def load_format(settings: HttpSettings, data: dict[str, Any]) -> OwnFormat:
    """The format of the class that `teacher.format` names. Raises UserError where it cannot be found or made."""
    own = make_named("teacher.format", settings.format, NEEDED, {"settings": settings, "data": data})
    return OwnFormat(str(settings.format), own, settings, data)

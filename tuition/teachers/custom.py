"""A teacher of the user's own: `teacher.kind: module:Class`; modules are looked for in the current folder first.

The class is made with (settings, facts) and has `describe() -> dict`, what makes its answers what they are, and
`answer(inputs, keys) -> {signal: array} | Reply`, which may be `async`; inputs are images (B, C, H, W) uint8 or a list of B texts. It may
have `signals` (default: logits), `classes`, `constants()` and, where `answer` is async, `max_in_flight`. docs/your_teacher.md has one to
start from.
"""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import numpy as np

from tuition.errors import UserError
from tuition.imports import make_named
from tuition.inputs.kinds import inputs_of
from tuition.params.teacher import CustomSettings
from tuition.signals import TOGETHER, families, with_votes
from tuition.teachers.protocol import Reply

NEEDED = ("describe", "answer")
FILES = (
    "ids",
    "costs",
    "positions",
    "meta",
    "spend",
    "mixed",
    *TOGETHER["classifier"],
)  # of an export: no names of signals


class OwnTeacher(Protocol):
    """What the user's class has."""

    def describe(self) -> dict[str, Any]: ...

    def answer(
        self, inputs: np.ndarray, keys: Sequence[str]
    ) -> dict[str, np.ndarray] | Reply | Awaitable[dict[str, np.ndarray] | Reply]: ...


class CustomTeacher:
    """The user's teacher with what it leaves out. Which class it is, is told by its name: an edited comment costs nothing."""

    def __init__(
        self,
        named: str,
        own: OwnTeacher,
        settings: CustomSettings,
        handed: Callable[[np.ndarray], Any] = lambda samples: samples,
    ):
        """`handed`: as what samples are given to it."""
        self.named, self.own, self.handed = named, own, handed
        self.description = {"kind": named, "version": settings.version, **_described(named, own)}
        if settings.resize is not None:
            self.description["resize"] = settings.resize
        self.signals = named_signals(f"teacher.kind: {named}", getattr(own, "signals", ("logits",)))
        self.families = tuple(families(with_votes(self.signals, settings.samples)))
        self.classes: int | None = getattr(own, "classes", settings.classes)
        self.idempotent = settings.idempotent
        self.max_in_flight = _max_in_flight(named, own)

    def constants(self) -> dict[str, np.ndarray]:
        return dict(self.own.constants()) if hasattr(self.own, "constants") else {}

    def answer(
        self, inputs: np.ndarray, keys: Sequence[str] = ()
    ) -> dict[str, np.ndarray] | Reply | Awaitable[dict[str, np.ndarray] | Reply]:
        given = self.own.answer(self.handed(inputs), list(keys))
        return self._awaited(given) if inspect.isawaitable(given) else self._checked(given)

    async def _awaited(self, given: Awaitable[Any]) -> dict[str, np.ndarray] | Reply:
        return self._checked(await given)

    def _checked(self, given: object) -> dict[str, np.ndarray] | Reply:
        """What is no answer at all is charged all the same, and kept for inspection."""
        if isinstance(given, dict | Reply):
            return given
        why = f"{self.named}: answer() returned {type(given).__name__}, expected a dict of arrays, or Reply"
        return Reply(malformed=why, raw=repr(given)[:100_000].encode(errors="replace"))


def named_signals(where: str, names: object) -> tuple[str, ...]:
    """`names` as the signals of a teacher. Raises UserError, which begins with `where`, for anything but a tuple of plain names."""
    listed = isinstance(names, tuple | list) and len(names) > 0
    plain = listed and all(isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)  # type: ignore[attr-defined]
    if not plain or any(name in FILES for name in names):  # type: ignore[attr-defined]
        raise UserError(
            f"{where}: signals: found {names!r}; expected a tuple of names such as ('logits', 'embedding'), "
            f"none of them {', '.join(FILES)}"
        )
    return tuple(names)  # type: ignore[arg-type]


def load_custom(settings: CustomSettings, facts: dict[str, Any]) -> CustomTeacher:
    """The teacher of the class that `teacher.kind` names. Raises UserError where it cannot be found or made."""
    own = make_named("teacher.kind", settings.kind, NEEDED, {"settings": settings, "facts": facts})
    return CustomTeacher(settings.kind, own, settings, inputs_of(facts).handed)


def _described(named: str, own: OwnTeacher) -> dict[str, Any]:
    given = own.describe()
    try:
        json.dumps(given, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"teacher.kind: {named}: describe() is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise UserError(f"teacher.kind: {named}: describe() returned {type(given).__name__}, expected a dict")
    return {"describe": given}


def _max_in_flight(named: str, own: OwnTeacher) -> int:
    most = getattr(own, "max_in_flight", 1)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise UserError(f"teacher.kind: {named}: max_in_flight: found {most!r}; expected a whole number from 1 on")
    if most > 1 and not inspect.iscoroutinefunction(own.answer):
        raise UserError(
            f"teacher.kind: {named}: max_in_flight: {most}, but only an `async def answer` can be asked so many at a time"
        )
    return most

"""kind `python`: the user's own function, `module:function`.

The function takes images (B, C, H, W) uint8, or a list of B texts, and returns what `teacher.answers` says: logits or probabilities
(B, classes), B classes by name or index, or B times {class: probability}; or a dict that holds these under that name, and arrays with B
rows each. Where it has a parameter `keys` it is also given one idempotency key a sample, to pass on to a provider that honours them; where
it has a parameter `classes`, their names in order. It may be `async`.
"""

import inspect
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from tuition.errors import UserError, unknown
from tuition.imports import import_function
from tuition.inputs.kinds import inputs_of
from tuition.params.teacher import FunctionSettings
from tuition.signals import families, with_votes
from tuition.targets.answers import Classes
from tuition.teachers.answers import as_reply, signals_of
from tuition.teachers.custom import named_signals
from tuition.teachers.protocol import Reply


class FunctionTeacher:
    """The teacher behind a function. What it is, is told by `teacher.function` and `teacher.version`, never by its source:
    an edited comment must not make owned outputs unowned."""

    def __init__(
        self,
        function: Callable,
        settings: FunctionSettings,
        classes: Sequence[str] = (),
        handed: Callable[[np.ndarray], Any] = lambda samples: samples,
    ):
        """`classes`: the names of the data's, by which answers may speak of them; `handed`: as what samples are given to it."""
        self.function, self.handed = function, handed
        self.takes = set(inspect.signature(function).parameters) & {"keys", "classes"}
        self.description: dict[str, Any] = {
            "kind": "python",
            "function": settings.function,
            "version": settings.version,
        }
        self.form, self.names = settings.form, Classes(classes)
        if settings.scores != "logits":
            self.description["scores"] = settings.scores
        if self.form != settings.scores:
            self.description["answers"] = self.form
        if settings.resize is not None:
            self.description["resize"] = settings.resize
        named = signals_of("teacher.function", self.form, getattr(function, "signals", None))
        self.signals = named_signals("teacher.function", named)
        self.families = tuple(families(with_votes(self.signals, settings.samples)))
        self.classes = settings.classes
        self.idempotent = settings.idempotent

    def constants(self) -> dict[str, np.ndarray]:
        return {}

    def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply | Awaitable[Reply]:
        also = {"keys": list(keys), "classes": list(self.names.names)}
        given = self.function(self.handed(inputs), **{name: also[name] for name in self.takes})
        return self._awaited(given, len(inputs)) if inspect.isawaitable(given) else self._reply(given, len(inputs))

    async def _awaited(self, given: Awaitable[Any], count: int) -> Reply:
        return self._reply(await given, count)

    def _reply(self, given: Any, count: int) -> Reply:
        return as_reply(given if isinstance(given, dict) else {self.form: given}, self.form, count, self.names)


def load_function(settings: FunctionSettings, facts: dict[str, Any]) -> FunctionTeacher:
    """The teacher of the function that `teacher.function` names, for data with these facts. Raises UserError where it cannot be found."""
    function = import_function("teacher.function", settings.function)
    if inspect.isclass(function):
        raise UserError(
            f"teacher.function: {settings.function} is a class; set teacher.kind: {settings.function} instead"
        )
    teacher = FunctionTeacher(function, settings, facts["classes"], inputs_of(facts).handed)
    _check_call(function, teacher.takes, settings.function)
    _check_retry(settings)
    return teacher


def _check_call(function: Callable, takes: Collection[str], named: str | None) -> None:
    """Raises UserError where the function cannot be called as it will be."""
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(takes))
    except TypeError as error:
        raise UserError(
            f"teacher.function: {named}{inspect.signature(function)}: {error}; it is called with the samples alone, and with `keys` and "
            "`classes` where it has parameters of these names; give others a default"
        ) from None


def _check_retry(settings: FunctionSettings) -> None:
    """Raises UserError where teacher.retry names an error of the function's own module that is not there, or of a package that is not."""
    own = (settings.function or "").partition(":")[0].partition(".")[0]
    for name in settings.retry:
        package, dot, inside = name.partition(".")
        if not dot:
            continue
        if package == own:
            known = sorted(
                one.__qualname__ for one in _subclasses(Exception) if one.__module__.partition(".")[0] == own
            )
            if inside not in known:
                raise unknown("teacher.retry", name, [f"{own}.{one}" for one in known])
        elif package not in sys.modules and find_spec(package) is None:
            raise UserError(f"teacher.retry: found {name!r}, but no package {package!r} is installed")


def _subclasses(kind: type[Exception]) -> set[type[Exception]]:
    """All classes of errors that are known in this process."""
    found = set(kind.__subclasses__())
    return found.union(*(_subclasses(one) for one in found))

"""kind `python`: the user's own function, `module:function`.

The function takes images (B, C, H, W) uint8 and returns logits (B, classes), or a dict of arrays with B rows each. Where it
has a parameter `keys` it is also given one idempotency key an image, to pass on to a provider that honours them.
"""

import inspect
from collections.abc import Callable, Sequence

import numpy as np

from tuition.errors import UserError
from tuition.imports import import_function
from tuition.params.teacher import FunctionSettings
from tuition.signals import families
from tuition.targets.classes import as_logits
from tuition.teachers.custom import named_signals


class FunctionTeacher:
    """The teacher behind a function. What it is, is told by `teacher.function` and `teacher.version`, never by its source:
    an edited comment must not make owned outputs unowned."""

    def __init__(self, function: Callable, settings: FunctionSettings):
        self.function = function
        self.takes_keys = "keys" in inspect.signature(function).parameters
        self.description = {"kind": "python", "function": settings.function, "version": settings.version}
        self.scores = settings.scores
        if self.scores != "logits":
            self.description["scores"] = self.scores
        self.signals = named_signals("teacher.function", getattr(function, "signals", ("logits",)))
        self.families = tuple(families(self.signals))
        self.classes = settings.classes
        self.idempotent = settings.idempotent

    def constants(self) -> dict[str, np.ndarray]:
        return {}

    def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> dict[str, np.ndarray]:
        given = self.function(inputs, keys=list(keys)) if self.takes_keys else self.function(inputs)
        said = dict(given) if isinstance(given, dict) else {"logits": given}
        if self.scores != "logits" and "logits" in said:
            said["logits"] = as_logits(said["logits"], self.scores)
        return said


def load_function(settings: FunctionSettings) -> FunctionTeacher:
    """The teacher of the function that `teacher.function` names. Raises UserError where it cannot be found."""
    function = import_function("teacher.function", settings.function)
    if inspect.isclass(function):
        raise UserError(
            f"teacher.function: {settings.function} is a class; set teacher.kind: {settings.function} instead"
        )
    return FunctionTeacher(function, settings)

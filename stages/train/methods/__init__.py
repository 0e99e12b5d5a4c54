"""The methods: one file each, named exactly as the method is in `params.yaml`, hyphens and all, because `dvc.yaml` makes a
cell depend on the file of its method's name.

A method is an `nn.Module` with the class attributes `signals` (teacher signals it reads) and `compares` (whether it needs
comparisons), keyword settings in `__init__` (their annotations are what `params.yaml` is checked against), and
`forward(student, teacher, labels, groups) -> {term: scalar}`; the loss is the sum of the terms. `student` and `teacher` map
signal names to (B, …) float32, `labels` is (B,) int64, and `groups` a `comparisons.Groups` or None.
This module imports no torch, so that names can be checked cheaply.
"""

import inspect
from importlib import import_module
from typing import Any, get_type_hints

from stages.errors import UserError, unknown
from stages.train.ranges import RULES

METHODS = {  # name: its class, in the file of that name
    "ce": "CrossEntropy",
    "kd": "KD",
    "ckd-mse": "CKDMSE",
    "ckd-kl": "CKDKL",
}


def load_class(name: str) -> Any:
    """The class of a method. Raises UserError listing the methods where the name is unknown."""
    if name not in METHODS:
        raise unknown("study.methods", name, METHODS)
    return getattr(import_module(f"{__name__}.{name}"), METHODS[name])


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Check a method's section against its class. Raises UserError naming the key, the finding and what is valid."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    method = load_class(name)
    hints = get_type_hints(method.__init__, include_extras=True)
    valid = [key for key in inspect.signature(method).parameters]
    for key, value in settings.items():
        if key not in valid:
            raise unknown(f"params.yaml: methods.{name}", key, valid or ["(it has no settings)"])
        try:
            TypeAdapter(hints[key], config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            raise UserError(f"params.yaml: methods.{name}.{key}: found {value!r}. {error.errors()[0]['msg']}") from None
        for rule in getattr(hints[key], "__metadata__", ()):
            if not RULES[rule](value):
                raise UserError(f"params.yaml: methods.{name}.{key}: found {value!r}, expected a number that is {rule}")


def build(name: str, settings: dict[str, Any]) -> Any:
    """The method as a module, with its checked settings."""
    check_settings(name, settings)
    return load_class(name)(**settings)

"""A wire format's own options, `teacher.options`: a free section of `params.yaml`, checked against the format's schema."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tuition.errors import UserError, unknown
from tuition.params.teacher import Section

Schema = TypeVar("Schema", bound=Section)


def parse(schema: type[Schema], settings: Any) -> Schema:
    """`settings.options` as a `schema`. UserError names each key that is unknown or of a wrong type."""
    for name in settings.options:
        if name not in schema.model_fields:
            raise unknown("teacher.options", name, schema.model_fields, f"(teacher.kind is {settings.kind!r})")
    try:
        return schema.model_validate(settings.options)
    except ValidationError as error:
        lines = [
            f"teacher.options.{'.'.join(map(str, one['loc']))}: found {one['input']!r}: {one['msg']}"
            for one in error.errors()
        ]
        raise UserError("; ".join(lines)) from None


def imported(key: str, named: str) -> Callable:
    """The user's function `module:function` that `teacher.options.<key>` names; modules are looked for in the current folder first."""
    module, _, name = named.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), name, None)
    except (ImportError, SyntaxError, SystemExit, ValueError) as error:
        raise UserError(f"teacher.options.{key}: cannot import {module!r}: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise UserError(f"teacher.options.{key}: found {named!r}; expected 'module:function', a function of {module!r}")
    return function

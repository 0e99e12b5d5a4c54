"""What a user names as `module:name` in `params.yaml`: a function or a class of their own."""

import importlib
import importlib.util
import sys
from pathlib import Path

from tuition.errors import UserError


def imported(key: str, named: str) -> object:
    """The object that `named` ('module:name'), found under `key`, stands for; modules are looked for in the current folder first.

    Raises UserError where the module cannot be imported or has no such name.
    """
    module, _, name = named.partition(":")
    _look_here()
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, SyntaxError, SystemExit, ValueError) as error:
        raise UserError(f"{key}: cannot import {module!r}: {type(error).__name__}: {error}") from error
    if found is None:
        raise UserError(f"{key}: found {named!r}, but {module!r} has no {name!r}; expected 'module:name'")
    return found


def source_file(key: str, named: str) -> Path:
    """The file of the module of `named`, which is not imported for it. Raises UserError where there is none."""
    module = named.partition(":")[0]
    _look_here()
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise UserError(f"{key}: cannot import {module!r}: {type(error).__name__}: {error}") from error
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise UserError(
            f"{key}: found {named!r}, but there is no file of a module {module!r} in this folder or on Python's path"
        )
    return Path(found.origin)


def _look_here() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))

"""What a user names as `module:name` in params.yaml: their own functions and classes, from the current folder first."""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tuition.errors import UserError


def import_function(key: str, named: str | None) -> Callable[..., Any]:
    """The function (or anything else that can be called) of the user's that `key` of params.yaml names as `module:function`.

    Raises UserError, which names `key`, where it cannot be imported or is not there, with the functions that are.
    """
    module, name = _imported(key, named, "function")
    function = getattr(module, name, None)
    if not callable(function):
        raise _missing(key, module, name, "function", [k for k, v in vars(module).items() if inspect.isfunction(v)])
    return function


def import_class(key: str, named: str | None) -> type[Any]:
    """The class of the user's that `key` of params.yaml names as `module:Class`. Raises UserError as `import_function` does."""
    module, name = _imported(key, named, "Class")
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        own = [k for k, v in vars(module).items() if inspect.isclass(v) and v.__module__ == module.__name__]
        raise _missing(key, module, name, "class", own)
    return found


def make_named(key: str, named: str | None, needs: Sequence[str], given: Mapping[str, object]) -> Any:
    """An object of the class that `key` names, made with the values of `given` in their order; `needs`: methods that it must have.

    Raises UserError as `import_class` does, where a method is missing, and where the class cannot be made.
    """
    found = import_class(key, named)
    missing = [f"{method}()" for method in needs if not callable(getattr(found, method, None))]
    if missing:
        needed = " and ".join(f"{method}()" for method in needs)
        raise UserError(f"{key}: {named} has no {' and no '.join(missing)}; it needs {needed}")
    try:
        return found(*given.values())
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{key}: {named}({', '.join(given)}): {type(error).__name__}: {error}") from error


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


def _imported(key: str, named: str | None, what: str) -> tuple[ModuleType, str]:
    if named is None or not re.fullmatch(r"[\w.]+:\w+", named):
        raise UserError(f"{key}: found {named!r}; it needs 'module:{what}'")
    module, name = named.split(":")
    _look_here()
    try:
        return importlib.import_module(module), name
    except (Exception, SystemExit) as error:  # a user's module may fail in every way when it is run
        raise UserError(f"{key}: cannot import {module!r}: {type(error).__name__}: {error}{_line(error)}") from error


def _line(error: BaseException) -> str:
    """Which line of the user's module raised it; nothing where it was not run."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if one.filename != __file__ and "importlib" not in one.filename]
    return f" ({Path(own[0].filename).name}, line {own[0].lineno}: `{own[0].line}`)" if own else ""


def _missing(key: str, module: ModuleType, name: str, what: str, have: list[str]) -> UserError:
    listed = ", ".join(sorted(have)) or "none"
    return UserError(f"{key}: {module.__name__!r} has no {what} {name!r}; it has: {listed}")

"""Edits of params.yaml by code: comments stay, and the file changes only where the whole result is valid."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tuition import params as parameters
from tuition.errors import UserError, unknown
from tuition.files import read_text


class Edit(NamedTuple):
    where: str  # who asks, for errors
    keys: list[str]  # from the section down
    value: Any  # as `parser` reads it


def parser() -> Any:
    """A YAML parser that keeps comments, quotes and order."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(
        RoundTripRepresenter
    ):  # of our own: what is added to ruamel's changes what DVC writes in this process
        pass

    Representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def apply(edits: Iterable[Edit], path: Path = parameters.FILE, check: Callable[[Path], Any] = parameters.load) -> None:
    """Make the edits in `path`, in their order, then `check` the whole file.

    Raises UserError for an unknown key or a wrong value, and leaves the file as it was.
    """
    from ruamel.yaml import YAMLError

    yaml = parser()
    try:
        params = yaml.load(read_text(path))
        before = path.read_bytes()
    except (OSError, YAMLError):
        parameters.load(path)  # tells what is wrong with the file
        raise
    for edit in edits:
        _put(params, edit)
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        yaml.dump(params, file)
    os.replace(new, path)
    try:
        check(path)
    except BaseException:
        new.write_bytes(before)
        os.replace(new, path)
        raise


def _put(params: Any, edit: Edit) -> None:
    where, keys, value = edit
    place = params
    for depth, key in enumerate(keys[:-1]):
        if key not in place:
            _add(place, key, {})
        if not isinstance(place[key], dict):
            raise UserError(f"{where}: {'.'.join(keys[: depth + 1])} is no section, found {place[key]!r}")
        place = place[key]
    key = keys[-1]
    # `parameters.load` knows the keys of every section but a method's own, which its file declares.
    if keys[0] == "methods" and len(keys) > 2 and key not in place:
        raise unknown(f"{where}: {'.'.join(keys[:-1])}", key, place or ["(it has no settings)"])
    if key not in place:
        _add(place, key, value)
        return
    old = place[key]
    if hasattr(old, "ca") and hasattr(value, "ca"):
        value.ca.comment = old.ca.comment  # the comment behind a list belongs to the list
    place[key] = value


def _add(place: Any, key: str, value: Any) -> None:
    """A new key goes before the last one, to which the empty line before the next section belongs."""
    if hasattr(place, "insert"):
        place.insert(max(0, len(place) - 1), key, value)
    else:
        place[key] = value

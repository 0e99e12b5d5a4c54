"""`-S section.key=value`: edit params.yaml as `dvc exp run -S` does, comments kept, and only where the result is valid."""

import os
from pathlib import Path
from typing import Any

from stages import params as parameters
from stages.errors import UserError, unknown


def apply(overrides: list[str], path: Path = parameters.FILE) -> None:
    """Set each `section.key=value` (a value as in YAML) in `path`, then check the whole file.

    Raises UserError for an unknown key or a wrong value, and leaves the file as it was.
    """
    from ruamel.yaml import YAML, YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    try:
        before = path.read_bytes()
        params = yaml.load(before)
    except (OSError, YAMLError):
        parameters.load(path)  # tells what is wrong with the file
        raise
    for override in overrides:
        key, equals, text = override.partition("=")
        if not (key and equals):
            raise UserError(f"-S {override}: expected section.key=value")
        try:
            value = yaml.load(text)
        except YAMLError as error:
            raise UserError(f"-S {override}: the value is not valid YAML: {error}") from None
        _put(params, override, key.split("."), value)
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        yaml.dump(params, file)
    os.replace(new, path)
    try:
        parameters.load(path)
    except BaseException:
        new.write_bytes(before)
        os.replace(new, path)
        raise


def _put(params: Any, override: str, keys: list[str], value: Any) -> None:
    place = params
    for depth, key in enumerate(keys[:-1]):
        if not isinstance(place.setdefault(key, {}), dict):
            raise UserError(f"-S {override}: {'.'.join(keys[: depth + 1])} is no section, found {place[key]!r}")
        place = place[key]
    old = place.get(keys[-1])
    # `parameters.load` knows the keys of every section but a method's own, which its file declares.
    if keys[0] == "methods" and len(keys) > 2 and keys[-1] not in place:
        raise unknown(f"-S {override}: {'.'.join(keys[:-1])}", keys[-1], place or ["(it has no settings)"])
    if hasattr(old, "ca") and hasattr(value, "ca"):
        value.ca.comment = old.ca.comment  # the comment behind a list belongs to the list
    place[keys[-1]] = value

"""`-S section.key=value`: edit params.yaml as `dvc exp run -S` does."""

from pathlib import Path

from tuition.errors import UserError
from tuition.params import FILE, edits


def apply_overrides(overrides: list[str], path: Path = FILE) -> None:
    """Set each `section.key=value` (a value as in YAML) in `path`, then check the whole file.

    Raises UserError for an unknown key or a wrong value, and leaves the file as it was.
    """
    edits.apply([_parsed(override) for override in overrides], path)


def _parsed(override: str) -> edits.Edit:
    from ruamel.yaml import YAMLError

    key, equals, text = override.partition("=")
    if not (key and equals):
        raise UserError(f"-S {override}: expected section.key=value")
    try:
        value = edits.parser().load(text)
    except YAMLError as error:
        raise UserError(f"-S {override}: the value is not valid YAML: {error}") from None
    return edits.Edit(f"-S {override}", key.split("."), value)

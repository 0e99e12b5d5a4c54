"""`studies/*.yaml`: parameters of published studies, to be written into params.yaml.

A file holds up to three mappings of sections, `all`, `full` and `small`: the first holds at both sizes, the second is the
study as published, the third the same matrix on digits in minutes. A section's keys are set one by one; a method's section
and a comparison set are replaced whole, and others in params.yaml stay.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuition import params as parameters
from tuition.errors import UserError, unknown
from tuition.files import read_text
from tuition.params import edits

SIZES = ("small", "full")
WHOLE = (["methods"], ["compare", "sets"])  # below these a name is set with all that it holds
HERE = Path("studies")


def use(study: Path, size: str, path: Path = parameters.FILE) -> parameters.Params:
    """Write `study` at `size` into params.yaml at `path`; returns the parameters that it then holds.

    Raises UserError for a file that can't be used and for whatever makes the result invalid, methods' settings and the
    teacher's signals too; params.yaml is then as it was.
    """
    sections = read(study, size)
    where = f"{study} ({size})"
    found: list[parameters.Params] = []

    def check(changed: Path) -> None:
        from tuition.preflight import check_methods

        params = parameters.load(changed)
        check_methods(params, params.teacher.offered)
        found.append(params)

    try:
        edits.apply([edits.Edit(where, keys, _styled(value)) for keys, value in _flat(sections, [])], path, check)
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    return found[0]


def read(study: Path, size: str) -> dict[str, Any]:
    """The sections of `study` at `size`: those of `all`, then those of the size itself, which win."""
    from ruamel.yaml import YAML, YAMLError

    try:
        raw = YAML(typ="safe", pure=True).load(read_text(study))
    except (FileNotFoundError, IsADirectoryError):
        there = ", ".join(str(one) for one in sorted(HERE.glob("*.yaml"))) or "none"
        raise UserError(f"{study}: no such file; valid: {there}") from None
    except YAMLError as error:
        raise UserError(f"{study}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{study}: found {type(raw).__name__}, expected the keys all, {', '.join(SIZES)}")
    for key in raw:
        if key not in ("all", *SIZES):
            raise unknown(str(study), key, ["all", *SIZES])
    if size not in raw:
        raise unknown(f"{study}: size", size, [key for key in SIZES if key in raw])
    merged: dict[str, Any] = {}
    for part in ("all", size):
        sections = raw.get(part) or {}
        if not isinstance(sections, dict):
            raise UserError(f"{study}: {part}: found {sections!r}, expected sections of params.yaml")
        for keys, value in _flat(sections, []):
            place = merged
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            place[keys[-1]] = value
    return merged


def _flat(value: dict[str, Any], above: list[str]) -> Iterator[tuple[list[str], Any]]:
    """(keys from the section down, value) of everything that is set."""
    for key, one in value.items():
        keys = [*above, str(key)]
        if isinstance(one, dict) and above not in WHOLE:
            yield from _flat(one, keys)
        else:
            yield keys, {} if one is None and above in WHOLE else one


def _styled(value: Any) -> Any:
    """Lists and mappings on one line, as params.yaml has them."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        mapping = CommentedMap((key, _styled(one)) for key, one in value.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq(_styled(one) for one in value)
        sequence.fa.set_flow_style()
        return sequence
    return value

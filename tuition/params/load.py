"""`params.yaml`, parsed once and checked whole: a misspelt key or a wrong type stops a stage before it does anything."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tuition.addresses import shown
from tuition.errors import UserError
from tuition.params.schema import Compare, ComparisonSet, Params
from tuition.params.teacher import KINDS, TeacherSettings, kind_of
from tuition.workspace import Workspace

FILE = Workspace().params


def load(path: Path = FILE) -> Params:
    """Parse and check `params.yaml`.

    Raises UserError naming every wrong key with what was found and what is valid.
    """
    from ruamel.yaml import YAML, YAMLError  # the parser that DVC uses, so that both read `5e-4` as a number

    from tuition.files import read_text
    from tuition.params.checks import check

    try:
        raw = YAML(typ="safe", pure=True).load(read_text(path))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path.resolve()}: no such file; stages run from the repository's root") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {shown(str(error))}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: found {type(raw).__name__}, expected sections: {', '.join(_fields([], {}))}")
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(one, raw) for one in error.errors()]
        raise UserError(f"{path}: {'; '.join(dict.fromkeys([*lines, *_valid_for_kinds(error, raw)]))}") from None
    check(params, path)
    return params


def _explain(error: Any, raw: dict) -> str:
    """One pydantic error in the user's words: the key, the finding, and what is valid."""
    where, found = _without_tags(error["loc"]), error.get("input")
    key = ".".join(str(part) for part in where)
    if where and where[-1] == "api_key_env" and error["type"] != "extra_forbidden":
        return f"{key}: expected the name of an environment variable; what stands there is not shown, for it may be the key itself"
    if error["type"] == "union_tag_invalid":
        return f"{key}.kind: found {error['ctx']['tag']!r}. Valid: {', '.join(KINDS)}"
    if error["type"] == "extra_forbidden" and (text := _of_another_kind(where, raw)):
        return text
    if error["type"] == "extra_forbidden":
        valid = _fields(where[:-1], raw)
        near = difflib.get_close_matches(str(where[-1]), valid, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        return f"{key}: no such parameter.{guess} Valid: {', '.join(valid)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        text = str(error["ctx"]["error"])
        return text if where[:1] != ["teachers"] else f"teachers.{where[1]}: {text}"  # which speaks of `teacher`
    return f"{key}: found {shown(repr(found))}. {error['msg']}"


def _without_tags(loc: Sequence[int | str]) -> list[int | str]:
    """Where an error is, without the kind that pydantic puts behind a teacher's place."""
    where = list(loc)
    place = {"teacher": 1, "teachers": 2}.get(str(where[0]) if where else "")
    if place is not None and len(where) > place and where[place] in KINDS:
        del where[place]
    return where


def _of_another_kind(where: list[int | str], raw: dict) -> str:
    """What is wrong with a teacher's key that other kinds take and its own does not; empty where no kind takes it."""
    if where[:1] not in (["teacher"], ["teachers"]) or len(where) != (2 if where[0] == "teacher" else 3):
        return ""
    key, kind = str(where[-1]), _kind(where, raw)
    takers = [name for name, section in KINDS.items() if key in section.model_fields]
    if not takers or kind not in KINDS:
        return ""
    return f"{'.'.join(map(str, where))}: not a key of kind {kind!r}, but of {', '.join(takers)}: leave it out"


def _valid_for_kinds(error: ValidationError, raw: dict) -> list[str]:
    """For each kind of teacher that was given a key of another kind, once: the keys that it takes."""
    wheres = [_without_tags(one["loc"]) for one in error.errors() if one["type"] == "extra_forbidden"]
    kinds = {_kind(where, raw) for where in wheres if _of_another_kind(where, raw)}
    return [f"valid for {kind!r}: {', '.join(sorted(KINDS[kind].model_fields))}" for kind in sorted(kinds)]


def _kind(where: list[int | str], raw: dict) -> str:
    section = raw["teacher"] if where[0] == "teacher" else raw["teachers"][where[1]]
    return kind_of(section)


def _fields(where: list[int | str], raw: dict) -> list[str]:
    """The valid keys of the section at `where`."""
    if where[:1] == ["teacher"] or (where[:1] == ["teachers"] and len(where) > 1):
        model: type[BaseModel] = KINDS.get(_kind(where, raw), TeacherSettings)
        where = where[1 if where[0] == "teacher" else 2 :]
    else:
        model = Params
    for part in where:
        if model is Compare and part == "sets":
            return sorted(ComparisonSet.model_fields)
        if isinstance(part, int):  # an item of a list, whose model is known already
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = fields[part].annotation
        if get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())

"""`params.yaml`, parsed once and checked whole: a misspelt key or a wrong type stops a stage before it does anything."""

import difflib
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tuition.errors import UserError
from tuition.params.schema import Compare, ComparisonSet, Params
from tuition.workspace import Workspace

FILE = Workspace().params


def load(path: Path = FILE) -> Params:
    """Parse and check `params.yaml`.

    Raises UserError naming every wrong key with what was found and what is valid.
    """
    from ruamel.yaml import YAML, YAMLError  # the parser that DVC uses, so that both read `5e-4` as a number

    from tuition.params.checks import check

    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path.resolve()}: no such file; stages run from the repository's root") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: found {type(raw).__name__}, expected sections: {', '.join(_fields([]))}")
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        lines = "; ".join(_explain(one, raw) for one in error.errors())
        raise UserError(f"{path}: {lines}") from None
    check(params, path)
    return params


def _explain(error: Any, raw: dict) -> str:
    """One pydantic error in the user's words: the key, the finding, and what is valid."""
    where, found = list(error["loc"]), error.get("input")
    key = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        valid = _fields(where[:-1])
        near = difflib.get_close_matches(str(where[-1]), valid, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        return f"{key}: no such parameter.{guess} Valid: {', '.join(valid)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        text = str(error["ctx"]["error"])
        return text if where[:1] != ["teachers"] else f"teachers.{where[1]}: {text}"  # which speaks of `teacher`
    return f"{key}: found {found!r}. {error['msg']}"


def _fields(where: list) -> list[str]:
    """The valid keys of the section at `where`."""
    model: type[BaseModel] = Params
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

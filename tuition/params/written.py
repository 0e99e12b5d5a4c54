"""Parameters as the text of a `params.yaml`: all of them with what each is for, or only what differs from the defaults."""

import io
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tuition.errors import UserError
from tuition.params.comments import comment
from tuition.params.edits import parser
from tuition.params.schema import Params
from tuition.workspace import Workspace

COLUMN = 30  # where comments begin
PLACEHOLDER = re.compile(r"\$\{(?!item\.)([\w.]+)\}")  # of dvc.yaml, for a parameter


def whole(params: Params) -> str:
    """Every key with the value in effect and what it is for, a section each. The text is a valid params.yaml with the same meaning."""
    return "\n".join(_section(name, value) for name, value in _values(params).items())


def defaults() -> Params:
    """What holds where params.yaml says nothing; of a study, what the smallest one is."""
    return Params.model_validate({"study": {"budgets": [100], "methods": ["kd"], "seeds": [0]}, "methods": {"kd": {}}})


def short(given: dict[str, Any], pipeline: Path | None = None) -> str:
    """`given`, and what dvc.yaml reads by name: an empty section, or the default, where it is not given."""
    filled = {name: dict(value) if isinstance(value, dict) else value for name, value in given.items()}
    for keys in _read_by(pipeline or Workspace().pipeline):
        place: Any = filled
        for depth, key in enumerate(keys):
            if key not in place:
                place[key] = _default(keys) if depth == len(keys) - 1 else {}
            place = place[key]
    order = [field.alias or name for name, field in Params.model_fields.items()]
    sections = (_section(name, filled[name], comments=False) for name in order if name in filled)
    head = "# What differs from the defaults, and the keys that dvc.yaml reads. `tuition params` prints every key."
    return "\n".join([head, *sections]) + "\n"


def _values(params: Params) -> dict[str, Any]:
    """Sections as plain values, under the names that they have in the file."""
    dumped = params.model_dump(by_alias=True)
    return {name: dumped[name] for name in (field.alias or key for key, field in Params.model_fields.items())}


def _section(name: str, value: Any, comments: bool = True) -> str:
    if not isinstance(value, dict) or not value:
        return (
            f"{f'{name}: {_flow(value)}'.ljust(COLUMN)}  # {comment(name)}" if comments else f"{name}: {_flow(value)}"
        )
    lines = [f"{f'{name}:'.ljust(COLUMN)}  # {comment(name)}" if comments else f"{name}:"]
    for key, one in value.items():
        line = f"  {_flow(key)}: {_flow(one)}"
        lines.append(f"{line.ljust(COLUMN)}  # {comment(name, key)}" if comments and name != "methods" else line)
    return "\n".join(lines) + ("\n" if comments else "")


def _flow(value: Any) -> str:
    """A value on one line, as YAML."""
    out = io.StringIO()
    yaml = parser()
    yaml.default_flow_style = True
    yaml.dump({"key": _plain(value)}, out)
    return out.getvalue().strip().removeprefix("{key: ").removesuffix("}")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(by_alias=True))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _read_by(pipeline: Path) -> list[list[str]]:
    """The keys of params.yaml that dvc.yaml names: in placeholders, and as parameters of stages. Raises UserError without one."""
    from ruamel.yaml import YAML

    try:
        text = pipeline.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{pipeline}: no such file in {Path.cwd()}; `tuition init` runs in the root of a clone of the project, which has one"
        ) from None
    stages = YAML(typ="safe", pure=True).load(text)["stages"]
    named = [str(one) for stage in stages.values() for one in stage.get("params", []) if "${" not in str(one)]
    return [key.split(".") for key in dict.fromkeys([*PLACEHOLDER.findall(text), *named])]


def _default(keys: list[str]) -> Any:
    """The default of a key; of a section an empty one."""
    field = {field.alias or name: field for name, field in Params.model_fields.items()}[keys[0]]
    default = field.get_default(call_default_factory=True)
    if len(keys) == 1:
        return [] if isinstance(default, list) else {}
    return getattr(default, keys[1])

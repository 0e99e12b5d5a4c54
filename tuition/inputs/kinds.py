"""The kinds of inputs: an explicit dict of modules, and which one a workspace, a data set or a student is of.

`data/meta.json` and `student.json` name the kind as `inputs`. Images are not named, so that nothing that was made before there were other
kinds is another thing now.
"""

from collections.abc import Mapping
from typing import Any

from tuition.errors import unknown
from tuition.files import read_json
from tuition.inputs import images, texts
from tuition.inputs.protocol import Facts, Inputs
from tuition.workspace import Workspace

INPUTS: dict[str, Inputs] = {"images": images, "texts": texts}
IMPLIED = "images"  # where none is named


def inputs_of(facts: Mapping[str, Any]) -> Inputs:
    """The module for the samples of which these facts are: of a data set, or of a model. Raises UserError for an unknown kind."""
    name = facts.get("inputs", IMPLIED)
    if name not in INPUTS:
        raise unknown("inputs", name, INPUTS)
    return INPUTS[name]


def workspace_inputs() -> Inputs:
    """The module for the samples in data/. Raises UserError where data/meta.json is not there."""
    return inputs_of(read_json(Workspace().data.meta))


def named(inputs: Inputs) -> dict[str, Any]:
    """The kind as files and descriptions name it."""
    return {} if inputs.NAME == IMPLIED else {"inputs": inputs.NAME}


def described(inputs: Inputs, facts: Facts) -> dict[str, Any]:
    """The part of a model's description that says what it takes."""
    return named(inputs) | {key: facts[key] for key in inputs.DESCRIBED if key in facts}

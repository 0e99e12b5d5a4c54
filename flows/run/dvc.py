"""`python -m flows.run.dvc …`: DVC, with dvc.lock read and written by libyaml.

DVC writes its lock whole after every stage, by a parser in Python that keeps comments; of 200 cells that takes six seconds, three
times as long as a short cell. The lock has no comments. This writes the same text; the command is DVC's own.
"""

import io
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import dvc.dvcfile
from dvc.cli import main
from dvc.utils.serialize import _common, _yaml
from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter


class AsDvc(SafeRepresenter):
    """In the order in which it stands, null as nothing: as DVC has it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.sort_base_mapping_type_on_output = False


AsDvc.add_representer(type(None), lambda own, _: own.represent_scalar("tag:yaml.org,2002:null", ""))
AsDvc.add_representer(OrderedDict, AsDvc.represent_dict)


def dump(data: Any, stream: TextIO) -> None:
    """Write `data` as DVC does. Strings of several lines are quoted otherwise."""
    yaml = YAML(typ="safe")
    yaml.Representer = AsDvc
    yaml.default_flow_style = False
    text = io.StringIO()
    yaml.dump(data, text)
    stream.write(text.getvalue().replace(": \n", ":\n"))  # libyaml writes a space before nothing


@contextmanager
def modify(path: str, fs: Any = None) -> Iterator[dict[str, Any]]:
    """The content of a lock, written back as the block leaves it; other files as DVC does it."""
    if path.endswith(".lock"):
        with _common._modify_data(path, _yaml.parse_yaml, dump, fs=fs) as data:
            yield data
    else:
        with _yaml.modify_yaml(path, fs=fs) as data:
            yield data


if __name__ == "__main__":
    dvc.dvcfile.modify_yaml = modify
    sys.exit(main(sys.argv[1:]))

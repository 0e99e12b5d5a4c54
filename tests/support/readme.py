"""What README.md, or another page, says to type, as it stands there."""

import re
import shlex

from support import ROOT

TEXT = (ROOT / "README.md").read_text()


def commands(beginning: str, text: str = TEXT) -> list[list[str]]:
    """The commands of the block whose first one begins so, each in words, without comments and broken lines."""
    block = next(one for one in re.findall(r"```[^\n]*\n(.*?)```", text, flags=re.DOTALL) if one.startswith(beginning))
    return [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]

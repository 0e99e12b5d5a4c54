"""What an inbox holds, whatever its samples are."""

from typing import Any, NamedTuple


class Item(NamedTuple):
    """One thing in an inbox: where it lies, its class (None: it has no label), and the sample (…), or None and why there is none."""

    place: str
    of: str | None
    sample: Any
    why: str = ""

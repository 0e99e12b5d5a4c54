"""The section `transfer`: images on which evaluate tests what else a student's embedding is good for.

They are split as `data/` is and get its size and channels, since students take no others.
"""

import re
from typing import Any

from stages.errors import UserError
from stages.params import Data, Transfer


def settings(transfer: Transfer, data: Data, meta: dict[str, Any]) -> Data:
    """How to prepare `transfer.source`: its own place, the size and channels of `meta` (data/meta.json), the shares of `data`.

    Raises UserError where transfer.resize or transfer.channels ask for what the student can't take.
    """
    height, width, channels = meta["height"], meta["width"], meta["channels"]
    if transfer.resize is not None and (transfer.resize, transfer.resize) != (height, width):
        valid = f"{height} or null" if height == width else "null"
        raise UserError(
            f"transfer.resize: found {transfer.resize}, but students are trained on images of {width}x{height} pixels; "
            f"valid: {valid}"
        )
    if transfer.channels not in (None, channels):
        raise UserError(
            f"transfer.channels: found {transfer.channels}, but students are trained on {channels} channels; "
            f"valid: {channels} or null"
        )
    return Data(
        source=transfer.source or "", root=transfer.root, resize=height if height == width else None,
        channels=channels if channels in (1, 3) else None,
        val=data.val, test=data.test, seed=data.seed, max_unreadable=data.max_unreadable,
    )  # fmt: skip


def own_words(error: UserError) -> UserError:
    """An error of the code that `data` and `transfer` share names keys of `data`: name those that the user set."""
    return UserError(re.sub(r"\bdata\.(source|root|resize|channels)\b", r"transfer.\1", str(error)))

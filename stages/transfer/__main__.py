"""`python -m stages.transfer`: read `transfer.source`, split it, write `transfer/`.

Evaluate tests on it what else a student's embedding is good for. It is split as `data/` is and gets its size and channels, since
students take no others. Without a source `transfer/meta.json` says so.
"""

import re
from pathlib import Path
from typing import Any

from tuition import params
from tuition.errors import UserError, read_arguments, run
from tuition.files import read_json, write_json
from tuition.params import Data, Transfer
from tuition.sources.splits import summary, write_splits
from tuition.workspace import Splits, Workspace


def main(argv: list[str]) -> None:
    read_arguments("stages.transfer", argv)
    settings = params.load()
    here = Workspace()
    meta = prepare_transfer(settings.transfer, settings.data, here.data.path, here.transfer.path)
    print("transfer.source is null: students are tested on data alone" if meta["source"] is None else summary(meta))


def prepare_transfer(transfer: Transfer, data: Data, trained_on: Path, out: Path) -> dict:
    """Write the splits of `transfer.source`, made like those in `trained_on`, below `out`; return what `meta.json` says."""
    if transfer.source is None:
        write_json(Splits(out).meta, {"source": None})
        return {"source": None}
    meta = read_json(Splits(trained_on).meta)
    try:
        own = as_data(transfer, data, meta)
        return write_splits(own, out, (meta["channels"], meta["height"], meta["width"]))
    except UserError as error:
        raise own_words(error) from None


def as_data(transfer: Transfer, data: Data, meta: dict[str, Any]) -> Data:
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
        source=transfer.source or "",
        root=transfer.root,
        resize=height if height == width else None,
        channels=channels if channels in (1, 3) else None,
        val=data.val,
        test=data.test,
        seed=data.seed,
        max_unreadable=data.max_unreadable,
    )


def own_words(error: UserError) -> UserError:
    """An error of the code that `data` and `transfer` share names keys of `data`: name those that the user set."""
    return UserError(re.sub(r"\bdata\.(source|root|resize|channels)\b", r"transfer.\1", str(error)))


if __name__ == "__main__":
    run(main)

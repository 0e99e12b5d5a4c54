"""`features/`: what the stage `encode` says of each sample, for who chooses, estimates or draws. It costs no teacher call.

Knows nothing of what made the features, and asks no network.
"""

from typing import TypedDict

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.workspace import Workspace

NONE = "none"  # encode.source: there are no features
CHUNK = 65_536  # rows looked at together


class About(TypedDict):
    source: str
    dimensions: int
    rows: dict[str, int]
    sha256: str | None


def about() -> About:
    """features/meta.json: the source, the dimensions, how many rows each split has, the sha256 of the encoder's file (null: it has none).

    Of the source `none` there are 0 dimensions and no rows. Raises UserError where the file is missing or damaged.
    """
    found: About = read_json(Workspace().encoded.meta)
    return found


def read(split: str, rows: int) -> np.ndarray:
    """The features (rows, D) float32 of a split, in the order of data/<split>, mapped and read-only.

    Raises UserError where there are none, they are not of so many rows, or one holds NaN or infinity.
    """
    path = Workspace().features(split)
    if not path.exists() and about()["source"] == NONE:
        raise UserError(
            f"encode.source: found 'none', but {path} is to be read; name a source (docs/features.md) and run `dvc repro`"
        )
    found = read_array(path)
    if found.ndim != 2 or found.dtype != np.float32 or not found.shape[1]:
        raise UserError(
            f"{path}: found {found.dtype} {found.shape}, expected float32 (N, D); run `dvc repro -f encode`"
        )
    if len(found) != rows:
        raise UserError(f"{path}: {len(found)} rows, but data/{split} has {rows} samples; run `dvc repro -f encode`")
    if (bad := first_not_finite(found)) is not None:
        raise UserError(f"{path}: row {bad} holds NaN or infinity; run `dvc repro -f encode`")
    return found


def first_not_finite(rows: np.ndarray) -> int | None:
    """The first of rows (N, D) that holds NaN or infinity, looked for in bounded memory; None: none does."""
    for start in range(0, len(rows), CHUNK):
        finite = np.isfinite(rows[start : start + CHUNK]).all(axis=1)
        if not finite.all():
            return start + int(finite.argmin())
    return None

"""Features that cost no teacher call: the inputs' own, those of the stage `encode`, or a file of the user's own."""

import numpy as np

from tuition.errors import UserError
from tuition.selection.pool import Pool
from tuition.workspace import given

DIMENSIONS = 64  # of the samples themselves, at most
CHUNK = 4096  # samples at a time


def of(pool: Pool, guide: str | None) -> np.ndarray:
    """(n, d) features of the pool: those of the file `guide`, else the directions of those that `encode` made, else the samples' own."""
    if guide is not None:
        return of_file(guide, pool)
    return of_samples(pool) if pool.encoded is None else directions(pool.encoded[pool.rows])


def directions(found: np.ndarray) -> np.ndarray:
    """Features (n, d) less their mean, each of length 1, as float32; what lies at the mean is 0.

    What an encoder is sure of makes its features long, so dense ground near the mean would else draw most purchases, and far samples
    all those of `kcenter`. The numbers of a user's own file are distances that they chose, and stay.
    """
    parts = range(0, len(found), CHUNK)
    mean = sum(found[start : start + CHUNK].sum(axis=0, dtype=np.float64) for start in parts) / max(len(found), 1)
    rows = np.empty(found.shape, dtype=np.float32)
    for start in parts:
        part = found[start : start + CHUNK] - mean
        lengths = np.sqrt((part**2).sum(axis=1, keepdims=True))
        rows[start : start + CHUNK] = part / np.where(lengths > 0, lengths, 1)
    return rows


def of_samples(pool: Pool) -> np.ndarray:
    """(n, ≤ DIMENSIONS) float64: what the pool's kind of inputs gives of each sample, and where that is more, its principal components."""
    assert pool.inputs is not None
    found = np.concatenate([pool.inputs.features(batch) for batch in pool.batches(CHUNK)])
    if found.shape[1] <= DIMENSIONS:
        return found
    found -= found.mean(axis=0)
    _, axes = np.linalg.eigh(found.T @ found)  # by ascending variance
    return found @ axes[:, -DIMENSIONS:]


def of_file(path: str, pool: Pool) -> np.ndarray:
    """(n, d) numbers, the rows of a `.npy` file (N, d) that has one for each sample of data/train, in its order.

    Raises UserError for a file that is missing, cannot be read, has another number of rows, or holds what is no finite number.
    """
    where = f"teach.features: {path}"
    try:
        every = np.load(given(path), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"{where}: no such file; valid: a .npy file (N, d), one row for each sample of data/train"
        ) from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{where}: not a readable .npy file of numbers ({error})") from None
    if not isinstance(every, np.ndarray) or every.ndim != 2 or every.dtype.kind not in "fiu" or not every.shape[1]:
        found = f"{every.dtype} {every.shape}" if isinstance(every, np.ndarray) else "several arrays"
        raise UserError(f"{where}: found {found}, expected numbers (N, d)")
    assert pool.samples is not None
    if len(every) != len(pool.samples):
        raise UserError(
            f"{where}: {len(every)} rows, but data/train has {len(pool.samples)} samples; make it anew, one row for each, in their order"
        )
    rows = every[pool.rows]
    if not (finite := np.isfinite(rows).all(axis=1)).all():
        raise UserError(f"{where}: row {pool.rows[~finite].min()} holds NaN or infinity")
    return rows

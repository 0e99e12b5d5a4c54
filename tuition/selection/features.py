"""Features that cost no teacher call: the pixels, or a file of the user's own, such as the embeddings of a public network."""

import numpy as np

from tuition.errors import UserError
from tuition.selection.pool import Pool
from tuition.workspace import given

SIDE = 8  # pooled pixels a side
DIMENSIONS = 64  # of the pixels, at most
CHUNK = 4096  # images at a time


def of_pixels(pool: Pool) -> np.ndarray:
    """(n, ≤ DIMENSIONS) float64: each image averaged to SIDE × SIDE, and of colours the principal components.

    Pixels share one unit, so none is rescaled: dividing by each one's deviation would make the corners, where few images have any
    ink, count most.
    """
    parts = []
    for batch in pool.batches(CHUNK):
        down, across = (_averages(length) for length in batch.shape[2:])
        parts.append((down @ batch @ across.T).reshape(len(batch), -1))
    found = np.concatenate(parts)
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
    assert pool.images is not None
    if len(every) != len(pool.images):
        raise UserError(
            f"{where}: {len(every)} rows, but data/train has {len(pool.images)} samples; make it anew, one row for each, in their order"
        )
    rows = every[pool.rows]
    if not (finite := np.isfinite(rows).all(axis=1)).all():
        raise UserError(f"{where}: row {pool.rows[~finite].min()} holds NaN or infinity")
    return rows


def _averages(length: int) -> np.ndarray:
    """(≤ SIDE, length): each row averages a stretch of pixels; together they cover all, and overlap where SIDE is no divisor."""
    bins = min(SIDE, length)
    weights = np.zeros((bins, length))
    for number in range(bins):
        first, last = number * length // bins, -(-(number + 1) * length // bins)
        weights[number, first:last] = 1 / (last - first)
    return weights

"""An answer that is an embedding: the vector (d,) of a text, of one width for all texts. Only its direction is used: scores are cosines.

Which teacher it is of, and that all are of one width, the ledger and the purchase see to.
"""

from collections.abc import Sequence

import numpy as np

from tuition.targets.answers import NoAnswer

LEAST = 2  # numbers of an embedding: of one alone, all cosines are 1 or -1
UNIT = 1e-2  # by how much the length of a vector of length 1 may miss it


def rows(said: object, count: int) -> np.ndarray:
    """What was said of `count` texts -> (count, d) float32. Raises NoAnswer where it is no such array of numbers, or d < 2."""
    if isinstance(said, str | bytes) or not isinstance(said, Sequence | np.ndarray) or len(said) != count:
        length = f" of {len(said)}" if isinstance(said, Sequence | np.ndarray) else ""
        raise NoAnswer(f"found {type(said).__name__}{length}; expected an embedding for each of {count} texts")
    try:
        found = np.asarray(said, dtype=np.float32)
    except (ValueError, TypeError) as error:
        widths = sorted({len(one) for one in said if isinstance(one, Sequence | np.ndarray)})
        raise NoAnswer(f"not numbers, or of several widths ({widths[:4]}): {error}") from None
    if found.ndim != 2 or found.shape[1] < LEAST:
        raise NoAnswer(f"found shape {found.shape} for {count} texts; expected (texts, d) with d of {LEAST} or more")
    return found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) of length 1, float32; zeros stay zeros."""
    wide = np.asarray(vectors, dtype=np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def told(vectors: np.ndarray) -> tuple[bool, str]:
    """What the lengths of embeddings (n, d) are, and whether they are no fault: one of zeros has no direction."""
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float32), axis=1)
    if not lengths.all():
        return False, f"{int((lengths == 0).sum())} of {len(lengths)} embeddings are zeros, which have no direction"
    if np.abs(lengths - 1).max() <= UNIT:
        return True, f"{vectors.shape[1]} numbers each, of length 1"
    return True, (
        f"{vectors.shape[1]} numbers each, not normalised: lengths {lengths.min():.3g} to {lengths.max():.3g}; cosines take them as of "
        "length 1"
    )

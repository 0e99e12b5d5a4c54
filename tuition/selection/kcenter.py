"""`kcenter`: a greedy cover, each purchase the sample farthest from all before (farthest-first traversal; Gonzalez 1985).

The first is the sample nearest the mean. After n purchases no sample is farther from the nearest one than twice the least radius that
n samples as centres can reach. The traversal is of one pool: in a larger one it may be another from the first purchase on. What was
bought before is still owned, but need not be bought by it; to start from it, list it with `strategy: file`.

Features are rounded to whole numbers so small that every product below is exact in float32, in whatever order it is summed. So the
traversal is the same with every number of threads and on every machine; otherwise one last bit may change all that follows it.
"""

from collections.abc import Iterator

import numpy as np

from tuition.errors import UserError
from tuition.selection import features
from tuition.selection.pool import Pool

LONGEST = 4095  # of a rounded row: by Cauchy and Schwarz no sum of products exceeds 2²⁴, up to which float32 holds all integers
CHUNK = 4096  # rows in float64 at a time


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    """Places of the first `limit` in the traversal; equal distances go by place."""
    return traverse(whole(features.of(pool, guide)), min(limit, len(pool)))


def traverse(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` rows (count,) of `rows` (n, d) float32 from `whole`, farthest first, from the one nearest the origin on. O(n · count · d)."""
    lengths = np.einsum("nd,nd->n", rows, rows).astype(np.int32)  # squared, as all distances here
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(rows), np.iinfo(np.int32).max, dtype=np.int32)  # to what is chosen
    place = int(lengths.argmin()) if count else 0
    for step in range(count):
        chosen[step] = place
        away = (rows @ rows[place]).astype(np.int32)
        away *= -2
        away += lengths
        away += lengths[place]
        np.minimum(nearest, away, out=nearest)
        nearest[place] = -1  # also where others are equal to it
        place = int(nearest.argmax())
    return chosen


def whole(found: np.ndarray) -> np.ndarray:
    """Features (n, d) less their mean, as whole numbers in float32: the scale is such that the longest row measures LONGEST.

    Raises UserError where the numbers are so large that lengths overflow.
    """
    n, d = found.shape
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
        mean = sum((part.sum(axis=0) for part in _parts(found)), start=np.zeros(d)) / max(n, 1)
        longest = max((float(np.sqrt(((part - mean) ** 2).sum(axis=1).max())) for part in _parts(found)), default=0.0)
    if not np.isfinite(longest):
        raise UserError("teach.features: the numbers are so large that distances overflow; scale them down")
    scale = (LONGEST - np.sqrt(d) / 2) / longest if longest else 0.0  # rounding lengthens a row by √d/2 at most
    rows = np.empty((n, d), dtype=np.float32)
    for number, part in enumerate(_parts(found)):
        rows[number * CHUNK : number * CHUNK + len(part)] = np.rint((part - mean) * scale)
    return rows


def _parts(found: np.ndarray) -> Iterator[np.ndarray]:
    return (found[start : start + CHUNK].astype(np.float64) for start in range(0, len(found), CHUNK))

"""Clusters of features, the same on every machine: k-means (Lloyd 1982) in whole numbers, and a sequence of ever more clusters.

Rows and centres are whole numbers so small that products are exact in float32 (`kcenter.whole`), so neither threads nor processors
change an order that is to begin as it did.

The sequence has 16, 32, … up to MOST clusters, whatever the budget. At each number, clusters without a bought sample give one each,
the largest first; what was chosen stays chosen. After the last, clusters give a further one in turn. So a budget is a prefix of any
larger one.
"""

from collections.abc import Callable
from itertools import zip_longest

import numpy as np

from tuition.selection import features
from tuition.selection.kcenter import whole
from tuition.selection.pool import Pool

FEW, MOST = 16, 1024  # clusters
ROUNDS = (
    10  # of Lloyd's algorithm; fewer where nothing moves. 1,000 of 50,000 × 256 by `kmeans`: 49 s on two busy cores
)
CHUNK = 8192  # rows against all centres at a time
ROWS = 100_000  # a larger pool is clustered by its first so many, a sample by the seeded shuffle; the rest follows shuffled

Rank = Callable[[np.ndarray], np.ndarray]  # rows (m, d) of a cluster → their order (m,), the best representative first


def sequence(rows: np.ndarray, limit: int, rank: Rank) -> np.ndarray:
    """At most `limit` of rows (n, d) from `kcenter.whole` in the order above, each cluster's by `rank`."""
    chosen: list[int] = []
    taken = np.zeros(len(rows), dtype=bool)
    count = FEW
    while len(chosen) < limit and not taken.all():
        members = clusters(rows, min(count, len(rows)))
        last = count >= min(MOST, len(rows))
        for turn in zip_longest(*(_offers(rows, one, taken, rank, last) for one in members)):
            chosen += [place for place in turn if place is not None]
            if len(chosen) >= limit:
                break
        taken[chosen] = True
        if last:
            break
        count *= 2
    return np.array(chosen[:limit], dtype=np.int64)


def _offers(rows: np.ndarray, members: np.ndarray, taken: np.ndarray, rank: Rank, last: bool) -> list[int]:
    """What a cluster gives, in order: one where none of it is taken; at the last number of clusters all that is left."""
    if taken[members].any() and not last:
        return []
    ranked = members[rank(rows[members])]
    free = [int(place) for place in ranked if not taken[place]]
    return free if last else free[:1]


def clusters(rows: np.ndarray, count: int) -> list[np.ndarray]:
    """The places of each of at most `count` clusters of rows (n, d), largest first; equal ones by their first place."""
    centres = rows[:count]  # rows are shuffled, so these are drawn by the seed
    label = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        before, label = label, nearest(rows, centres)
        if np.array_equal(before, label):
            break
        centres = _means(rows, label, centres)
    order = np.argsort(label, kind="stable")
    found = [part for part in np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1]) if len(part)]
    return sorted(found, key=lambda part: (-len(part), part[0]))


def nearest(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest of centres (k, d) to each of rows (n, d), (n,) int64; of equals the first."""
    lengths = np.einsum("kd,kd->k", centres, centres).astype(np.int32)
    parts = (rows[start : start + CHUNK] @ centres.T for start in range(0, len(rows), CHUNK))
    return np.concatenate([(lengths - 2 * part.astype(np.int32)).argmin(axis=1) for part in parts])


def _means(rows: np.ndarray, label: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The mean of each cluster, cut to whole numbers towards zero, so that none is longer than the longest row; none: as it was."""
    order = np.argsort(label, kind="stable")
    held, first = np.unique(label[order], return_index=True)
    sums = np.add.reduceat(rows[order].astype(np.int64), first, axis=0)
    sizes = np.diff(np.append(first, len(label)))[:, None]
    found = centres.copy()
    found[held] = np.sign(sums) * (np.abs(sums) // sizes)
    return found


def ordered(pool: Pool, limit: int, guide: str | None, rank: Rank) -> np.ndarray:
    """Places of the first `limit` in the sequence of the pool's features; of a larger pool than ROWS, of its first so many."""
    few = pool.head(ROWS)
    return sequence(whole(features.of(few, guide)), min(limit, len(few)), rank)

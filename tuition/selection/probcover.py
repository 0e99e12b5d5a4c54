"""`probcover`: each purchase covers as many samples as it can that none before it covers (Yehuda, Dekel, Hacohen & Weinshall 2022).

A sample covers those nearer than a radius. The radius is the largest at which a ball holds, for half of the samples, no sample of another
cluster; clusters are by k-means, as many as classes. Once all is covered, the rest follows shuffled. Made for few calls, where it
leaves out what lies alone. [mem] The paper asks for 95 % of the balls, on features of a network trained on the very images; on given
features balls are then so small that dense ground takes most purchases (docs/measured.md).

No graph is held: what a purchase covers is taken from its neighbours' counts, so memory is O(n · d) and time O(n² · d). Distances are of
whole numbers (`kcenter.whole`), so that the order is the same on every machine.
"""

import numpy as np

from tuition.selection import features
from tuition.selection.clusters import ROWS, clusters
from tuition.selection.kcenter import whole
from tuition.selection.pool import Pool

PURE = 0.5  # of the balls; of 0.2, 0.5, 0.8 and 0.95 the best at 100 calls on CIFAR-100 (two draws), and on digits
LOOKED_AT = 2000  # samples by which the radius is found
CHUNK = 512  # rows against all at a time
FEWEST = 2  # clusters


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    """Places of at most `limit` in the sequence; of a pool larger than ROWS, of its first so many."""
    few = pool.head(ROWS)
    rows = whole(features.of(few, guide))
    return cover(rows, radius(rows, max(FEWEST, len(pool.classes))), min(limit, len(few)))


def radius(rows: np.ndarray, count: int) -> int:
    """The squared radius for rows (n, d), at which half of the first rows have no row of another of `count` clusters in their ball."""
    cluster = np.empty(len(rows), dtype=np.int64)
    for number, members in enumerate(clusters(rows, min(count, len(rows)))):
        cluster[members] = number
    looked_at, lengths = np.arange(min(LOOKED_AT, len(rows))), _lengths(rows)
    nearest = np.concatenate(
        [
            np.where(cluster[part, None] == cluster, np.iinfo(np.int32).max, _away(rows, lengths, part)).min(axis=1)
            for part in _parts(looked_at)
        ]
    )
    return int(np.sort(nearest)[int((1 - PURE) * len(nearest))])


def cover(rows: np.ndarray, square: int, limit: int) -> np.ndarray:
    """At most `limit` rows of `rows` (n, d), each the one with most uncovered rows within the root of `square`; of equals the first."""
    uncovered, lengths = np.ones(len(rows), dtype=bool), _lengths(rows)
    gains = np.concatenate([(_away(rows, lengths, part) < square).sum(axis=1) for part in _parts(np.arange(len(rows)))])
    chosen: list[int] = []
    while len(chosen) < limit and uncovered.any():
        place = int(gains.argmax())
        if not gains[place]:  # a radius of 0 covers nothing
            break
        chosen.append(place)
        newly = np.flatnonzero((_away(rows, lengths, np.array([place]))[0] < square) & uncovered)
        uncovered[newly] = False
        for part in _parts(newly):
            gains -= (_away(rows, lengths, part) < square).sum(axis=0)
    return np.array(chosen, dtype=np.int64)


def _parts(places: np.ndarray) -> list[np.ndarray]:
    return [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]


def _lengths(rows: np.ndarray) -> np.ndarray:
    """Squared lengths (n,) int32."""
    return np.einsum("nd,nd->n", rows, rows).astype(np.int32)


def _away(rows: np.ndarray, lengths: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Squared distances (m, n) int32 from the rows `part` (m,) to all; `lengths` as `_lengths`."""
    return lengths[part, None] + lengths - 2 * (rows[part] @ rows.T).astype(np.int32)

"""The order of purchase: one nested sequence per (pool, strategy, seed), so a smaller budget is a prefix of a larger one."""

import hashlib
from collections.abc import Sequence
from importlib import import_module

import numpy as np

from tuition.errors import unknown
from tuition.inputs.protocol import Inputs, Samples
from tuition.selection import STRATEGIES
from tuition.selection.pool import Pool


def purchase_order(
    strategy: str,
    ids: np.ndarray,
    labels: np.ndarray,
    seed: int,
    *,
    inputs: Inputs | None = None,
    samples: Samples | None = None,
    classes: Sequence[str] = (),
    limit: int | None = None,
    guide: str | None = None,
    among: np.ndarray | None = None,
    encoded: np.ndarray | None = None,
    relevance: np.ndarray | None = None,
    documents: int | None = None,
) -> np.ndarray:
    """Positions in the pool in the order in which they are bought, (distinct contents,) int64.

    `ids` (N,) S64, `labels` (N,) int64, `classes` their names; where the strategy looks at them `samples` (N, …), as they are stored, and
    what they are, `inputs`; `guide` the file that it reads; `among` (N,) bool which samples can be bought at all (None: all); `encoded`
    (N, d) features of the samples; of retrieval `relevance` (m, 2) positions of a query and of a document that answers it, and `documents`
    how many stand before all queries. Only the first `limit` are by the strategy (None: all); the others follow, shuffled. Of samples with
    the same content the first stands for all: it is bought once. Raises UserError for an unknown strategy and a guide that does not fit.
    """
    if strategy not in STRATEGIES:
        raise unknown("teach.strategy", strategy, STRATEGIES)
    _, first = np.unique(ids, return_index=True)
    first.sort()
    rows = first[_shuffled(ids[first], seed)]
    able = np.ones(len(rows), dtype=bool) if among is None else among[rows]
    barred = frozenset(ids[rows[~able]].tolist())
    rows = rows[able]
    pairs = None if relevance is None else _pairs(ids, rows, relevance)
    pool = Pool(ids[rows], labels[rows], classes, samples, rows, inputs, barred, encoded, pairs, documents)
    limit = len(pool) if limit is None else limit
    chosen = import_module(STRATEGIES[strategy]).order(pool, limit, guide)[:limit]
    rest = np.ones(len(pool), dtype=bool)
    rest[chosen] = False
    return rows[np.concatenate([chosen, np.flatnonzero(rest)])]


def _pairs(ids: np.ndarray, rows: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Queries and documents (m, 2) by their places among `rows`, those of the same content by that of the first; without what is not
    among them."""
    place = {id: number for number, id in enumerate(ids[rows].tolist())}
    found = np.array([[place.get(id, -1) for id in pair] for pair in ids[relevance].tolist()], dtype=np.int64).reshape(
        -1, 2
    )
    return found[(found >= 0).all(axis=1)]


def _shuffled(ids: np.ndarray, seed: int) -> np.ndarray:
    """Sorted by a seeded hash of the content: a sample keeps its place among the others when the pool grows."""
    keys = [hashlib.sha256(f"{seed}/".encode() + one).digest() for one in ids]
    return np.array(sorted(range(len(ids)), key=keys.__getitem__), dtype=np.int64)

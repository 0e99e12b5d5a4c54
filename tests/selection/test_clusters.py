"""`kmeans` and `typiclust` on real digits: exact, spread over classes and pool, and by the features that are given."""

import numpy as np
import pytest
from support import digits
from support.pools import order, pool

from tuition.inputs import images as inputs
from tuition.selection.clusters import clusters, nearest
from tuition.selection.kcenter import whole
from tuition.selection.order import purchase_order
from tuition.selection.typiclust import by_typicality

IMAGES, IDS = pool(600)
LABELS = digits(600)[1]
FLAT = whole(IMAGES.reshape(600, -1))


def chosen(strategy, count, seed=0):
    return order(strategy, count, images=IMAGES, ids=IDS, seed=seed)[:count]


@pytest.mark.parametrize("strategy", ["kmeans", "typiclust"])
def test_few_calls_reach_more_classes_than_chance_and_lie_nearer_the_pool(strategy):
    def classes(name):
        return np.mean([len(set(LABELS[chosen(name, 16, seed)])) for seed in range(5)])

    def away(name):
        return np.mean([_distances(FLAT[chosen(name, 16, seed)]).mean() for seed in range(5)])

    assert classes(strategy) > classes("random")
    assert away(strategy) < away("random")


def _distances(centres):
    """From each digit to the nearest of centres."""
    return np.linalg.norm(FLAT[:, None] - centres[None], axis=2).min(axis=1)


def test_clusters_are_whole_and_nearest_is_exact():
    found = clusters(FLAT, 32)
    assert sorted(np.concatenate(found)) == list(range(600))
    assert [len(one) for one in found] == sorted(map(len, found), reverse=True)
    exact = ((FLAT[:, None].astype(np.int64) - FLAT[None, :20].astype(np.int64)) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(nearest(FLAT, FLAT[:20]), exact)


def test_typical_is_where_many_are_near():
    middle, edge = np.zeros((30, 2)), np.array([[400.0, 0.0], [0.0, 900.0]])
    rows = np.concatenate([edge, middle]).astype(np.float32)
    assert by_typicality(rows)[-2:].tolist() == [0, 1]


def test_features_of_the_encoder_decide_where_there_are_some():
    """Features that tell the label alone: the first calls reach all ten."""
    encoded = np.eye(10, dtype=np.float32)[LABELS] + np.arange(600)[:, None].astype(np.float32) * 1e-5
    for strategy in ("kcenter", "kmeans", "typiclust"):
        found = purchase_order(
            strategy, IDS, LABELS, 0, inputs=inputs, samples=IMAGES, classes=[], limit=16, encoded=encoded
        )
        assert set(LABELS[found[:16]]) == set(range(10))

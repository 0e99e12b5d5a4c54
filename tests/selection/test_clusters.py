"""`kmeans` and `typiclust` on real digits: exact, spread over classes and pool, and by the features that are given."""

import numpy as np
import pytest
from support import digits
from support.pools import order, pool

from tuition.inputs import images as inputs
from tuition.selection.clusters import clusters, nearest
from tuition.selection.kcenter import whole
from tuition.selection.order import purchase_order
from tuition.selection.probcover import cover, radius
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


def test_a_cover_takes_the_most_uncovered_each_time():
    """Against a plain loop over the whole graph; what lies alone comes last."""
    square = radius(FLAT, 10)
    near = ((FLAT[:, None].astype(np.int64) - FLAT[None].astype(np.int64)) ** 2).sum(axis=2) < square
    uncovered, wanted = np.ones(600, dtype=bool), []
    while uncovered.any():
        wanted.append(int((near & uncovered).sum(axis=1).argmax()))
        uncovered &= ~near[wanted[-1]]
    assert cover(FLAT, square, 600).tolist() == wanted
    assert cover(FLAT, square, 7).tolist() == wanted[:7]
    assert near[wanted[0]].sum() > 1 == near[wanted[-1]].sum()
    assert cover(FLAT, 0, 10).size == 0


def test_a_radius_keeps_nearly_all_balls_within_a_cluster():
    cluster = np.empty(600, dtype=np.int64)
    for number, members in enumerate(clusters(FLAT, 10)):
        cluster[members] = number
    away = ((FLAT[:, None].astype(np.int64) - FLAT[None].astype(np.int64)) ** 2).sum(axis=2)

    def pure(square):
        return np.mean([(cluster[row < square] == own).all() for row, own in zip(away, cluster, strict=True)])

    square = radius(FLAT, 10)
    assert pure(square) >= 0.5 > pure(square + 1) - 0.005


def test_features_of_the_encoder_decide_where_there_are_some():
    """Features that tell the label alone: the first calls reach all ten."""
    drawn = np.random.default_rng(0).normal(0, 0.2, (600, 10))
    encoded = (np.eye(10)[LABELS] + drawn).astype(np.float32)
    for strategy in ("kcenter", "kmeans", "probcover", "typiclust"):
        found = purchase_order(
            strategy,
            IDS,
            LABELS,
            0,
            inputs=inputs,
            samples=IMAGES,
            classes=list("0123456789"),
            limit=16,
            encoded=encoded,
        )
        assert set(LABELS[found[:16]]) == set(range(10))

"""The order of purchase."""

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.inputs.images.files import content_id
from tuition.selection.order import purchase_order

LABELS = np.repeat(np.arange(4), [50, 30, 15, 5])
IDS = np.array([content_id(np.full((1, 2, 2), i, np.uint8)) for i in range(100)], dtype="S64")


@pytest.mark.parametrize("strategy", ["random", "balanced"])
def test_it_is_a_permutation_that_depends_on_the_seed_alone(strategy):
    order = purchase_order(strategy, IDS, LABELS, 3)
    assert sorted(order) == list(range(100))
    assert np.array_equal(order, purchase_order(strategy, IDS, LABELS, 3))
    assert not np.array_equal(order, purchase_order(strategy, IDS, LABELS, 4))


def test_a_sample_keeps_its_place_when_the_pool_grows_or_moves():
    """What was bought of a smaller pool is still what a bigger pool's prefix holds, however the pool is sorted."""
    small = IDS[purchase_order("random", IDS[:60], LABELS[:60], 0)]
    grown = IDS[purchase_order("random", IDS, LABELS, 0)]
    assert [id for id in grown if id in set(small)] == list(small)
    backwards = IDS[::-1][purchase_order("random", IDS[::-1], LABELS[::-1], 0)]
    assert np.array_equal(grown, backwards)


def test_balanced_prefixes_hold_the_classes_evenly_as_long_as_they_last():
    order = purchase_order("balanced", IDS, LABELS, 0)
    for budget, counts in ((8, [2, 2, 2, 2]), (20, [5, 5, 5, 5]), (50, [15, 15, 15, 5])):
        assert np.bincount(LABELS[order[:budget]], minlength=4).tolist() == counts


def test_the_same_content_is_bought_once():
    ids = np.concatenate([IDS[:10], IDS[:10]])
    assert sorted(purchase_order("random", ids, np.zeros(20, int), 0)) == list(range(10))


def test_what_is_not_asked_for_follows_shuffled():
    assert np.array_equal(
        purchase_order("balanced", IDS, LABELS, 0)[:20], purchase_order("balanced", IDS, LABELS, 0, limit=20)[:20]
    )
    rest = purchase_order("balanced", IDS, LABELS, 0, limit=20)[20:]
    shuffled = purchase_order("random", IDS, LABELS, 0)
    assert list(rest) == [i for i in shuffled if i in set(rest)]


def test_an_unknown_strategy_lists_the_valid_ones():
    with pytest.raises(
        UserError,
        match=r"teach\.strategy: 'rnd'.*Valid: balanced, documents, file, kcenter, kmeans, pairs, probcover, random, typiclust, uncertain",
    ):
        purchase_order("rnd", IDS, LABELS, 0)

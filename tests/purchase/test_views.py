"""Views of samples: what each is, by another way too, and which are drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.viewing import padded

from tuition.errors import UserError
from tuition.inputs import images
from tuition.inputs.bought import Bought
from tuition.inputs.images.batch import PlacedImages
from tuition.inputs.images.files import content_id
from tuition.inputs.images.views import replay
from tuition.params import Teach
from tuition.purchase.views import draw, plan_views
from tuition.training.loader import Loader
from tuition.views import from_text, is_view, possible, to_text

PLACES, SIZES = st.integers(-50, 50), st.integers(1, 50)
VIEWS = st.tuples(PLACES, PLACES, SIZES, SIZES, st.integers(0, 1))
IDS = [content_id(np.full((1, 8, 8), i, dtype=np.uint8)).encode() for i in range(60)]


@given(VIEWS)
def test_a_view_and_its_text_say_the_same(view):
    text = to_text(view)
    assert is_view(text)
    assert "+" not in text
    assert " " not in text
    assert from_text(text).tolist() == list(view)


@given(st.text(st.sampled_from("crop=;flip-+,0123 "), max_size=30) | st.from_regex(r"crop=-?\d+,\d+,\d+,\d+;flip=\d"))
def test_a_view_has_one_text(text):
    if is_view(text):
        assert to_text(from_text(text)) == text
    else:
        with pytest.raises(UserError, match="view: found"):
            from_text(text)


@pytest.mark.parametrize("view", [(0, 0, 8, 0, 0), (0, 0, 8, 8, 2), (0, 0, 0, 0, 1), (0, 0, -8, 8, 0)])
def test_numbers_that_are_no_view_have_no_text(view):
    with pytest.raises(UserError, match="expected a box of at least one pixel and flip 0 or 1"):
        to_text(view)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30))), VIEWS)
def test_a_replayed_view_is_the_padded_image_cut_and_mirrored(image, view):
    seen = replay(image, view)
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, padded(image, view))
    np.testing.assert_array_equal(replay(image, np.zeros(5, np.int32)), image)


def test_rows_are_made_when_they_are_asked_for_and_are_no_window_on_the_pool():
    pool = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 6), dtype=np.uint8)
    views = np.array([[0, 0, 0, 0, 0], [-2, 1, 6, 6, 1], [1, -1, 6, 6, 0]], dtype=np.int32)
    rows = Bought(images, pool, np.array([4, 4, 0]), views)
    expected = np.stack([pool[4], padded(pool[4], views[1]), padded(pool[0], views[2])])
    np.testing.assert_array_equal(rows[:], expected)
    np.testing.assert_array_equal(rows[np.array([2, 0])], expected[[2, 0]])
    assert len(rows) == 3
    assert rows[[]].shape == (0, 3, 6, 6)
    seen = Bought(images, pool, np.array([4]))[:]
    seen[:] = 0
    assert pool[4].any()


@pytest.mark.parametrize("flip", [False, True])
def test_views_are_what_random_augmentation_shows(flip):
    """Every image that the loader makes of a sample by random crops and flips is one of its views; all of them turn up."""
    pixels = np.random.default_rng(0).integers(1, 256, (1, 3, 8, 8), dtype=np.uint8)
    views = draw(IDS[0], possible(1, flip), (8, 8), 1, flip, 0)
    known = {replay(pixels[0], view).tobytes() for view in views}
    assert len(known) == len(views) == (18 if flip else 9)
    loader = Loader(
        PlacedImages(torch.from_numpy(pixels), mean=[0.0] * 3, std=[1 / 255] * 3, crop=1, flip=flip),
        torch.zeros(1, dtype=torch.int64),
        {},
        batch_size=1,
        seed=0,
    )
    shown = {loader.batch(step).inputs[0].round().to(torch.uint8).contiguous().numpy().tobytes() for step in range(300)}
    assert shown == known


@given(st.integers(0, 59), st.integers(0, 3), st.booleans(), st.integers(0, 5), st.data())
def test_draws_are_distinct_and_go_on_from_one_another(i, crop, flip, seed, data):
    total = possible(crop, flip)
    few, many = sorted(data.draw(st.tuples(st.integers(1, total), st.integers(1, total))))
    views = draw(IDS[i], many, (8, 9), crop, flip, seed)
    assert len({to_text(view) for view in views}) == many
    np.testing.assert_array_equal(draw(IDS[i], few, (8, 9), crop, flip, seed), views[:few])
    moved = views[views.any(axis=1)]
    assert (np.abs(moved[:, :2]) <= crop).all()
    assert (moved[:, 2:4] == (8, 9)).all()
    assert len(moved) >= many - 1  # the one that is not moved is the clean sample


def test_draws_differ_by_sample_and_seed_and_favour_no_view():
    drawn = np.concatenate([draw(id, 2, (8, 8), 1, True, 0) for id in IDS])
    texts, counts = np.unique([to_text(view) for view in drawn], return_counts=True)
    assert len(texts) == 18
    assert counts.max() < 20  # 120 draws of 18: 6.7 on average
    assert not np.array_equal(drawn, np.concatenate([draw(id, 2, (8, 8), 1, True, 1) for id in IDS]))


@settings(max_examples=30)
@given(st.integers(2, 5), st.integers(1, 100), st.integers(1, 100))
def test_a_smaller_budget_is_part_of_a_larger_one(number, one, other):
    ids, order = np.array(IDS), np.random.default_rng(0).permutation(60)
    teach = Teach(views=number, crop=1, flip=False, seed=0)
    small, large = (plan_views(order, ids, budget, teach, (8, 8)) for budget in sorted((one, other)))
    for part, whole in zip(small, large, strict=True):
        assert list(map(str, part)) == list(map(str, whole))[: len(part)]
    requests, positions, views = large
    assert len(requests) == len(set(requests)) == max(one, other)
    assert [(one.sample, one.view) for one in requests] == [
        (IDS[i].decode(), to_text(view)) for i, view in zip(positions, views, strict=True)
    ]
    assert positions.tolist() == np.repeat(order, number)[: len(requests)].tolist()

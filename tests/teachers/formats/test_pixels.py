"""What is sent of an image, and what is made of scores: each against its definition."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuition.errors import UserError
from tuition.inputs import images
from tuition.inputs.images.preprocess import to_float
from tuition.targets.classes import as_logits, look_like_probabilities

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 10, 10), dtype=np.uint8)


def settings(resize=None, mean=None, std=None) -> SimpleNamespace:
    return SimpleNamespace(resize=resize, mean=mean, std=std)


def test_pixels_go_as_they_are_where_nothing_else_is_said():
    for resize in (None, 10):
        assert images.sent(IMAGES, settings(resize)).dtype == np.uint8
        np.testing.assert_array_equal(images.sent(IMAGES, settings(resize)), IMAGES)


@pytest.mark.parametrize("resize", [None, 8, 13])
@pytest.mark.parametrize(
    ("mean", "std"), [([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]), ([0.5], [0.25]), ([0.5], None), (None, [0.25])]
)
def test_normalised_as_a_local_checkpoint_would(resize, mean, std):
    made = images.sent(IMAGES, settings(resize, mean, std))
    assert made.dtype == np.float32
    expected = to_float(torch.from_numpy(IMAGES), mean or [0.0], std or [1.0], resize).numpy()
    np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.parametrize("side", [8, 13])
def test_resized_pixels_stay_bytes_and_are_rounded(side):
    made = images.sent(IMAGES, settings(side))
    expected = to_float(torch.from_numpy(IMAGES), [0.0], [1.0], side).numpy() * 255
    assert (made.dtype, made.shape) == (np.uint8, (4, 3, side, side))
    assert np.abs(made - expected).max() <= 0.5 + 1e-4
    flat = np.full((1, 1, 10, 10), 200, dtype=np.uint8)
    np.testing.assert_array_equal(images.sent(flat, settings(side)), np.full((1, 1, side, side), 200))


def test_means_that_do_not_fit():
    data = {"channels": 3, "height": 10, "width": 12}
    for wrong in (settings(mean=[0.1, 0.2]), settings(std=[0.1, 0.2])):
        with pytest.raises(UserError, match=r"teacher\.(mean|std): found 2 values, the data has 3 channels"):
            images.check_sent(wrong, data)
        with pytest.raises(UserError):
            images.sent(IMAGES, wrong)
    images.check_sent(settings(mean=[0.1], std=[0.1, 0.2, 0.3]), data)
    assert images.shape(images.as_sent(settings(), data)) == (3, 10, 12)
    assert images.shape(images.as_sent(settings(resize=8), data)) == (3, 8, 8)


def test_logits_of_probabilities_by_hand():
    made = as_logits(np.array([[0.5, 0.5, 0.0], [1.0, -0.2, 1.3]]), "probabilities")
    np.testing.assert_allclose(made[0], [np.log(0.5), np.log(0.5), np.log(1e-12)], rtol=1e-6)
    assert made[1, 0] == 0
    assert np.isnan(made[1, 1:]).all()
    assert np.isnan(as_logits(np.array([[np.nan, 0.5]]), "probabilities")[0, 0])
    np.testing.assert_array_equal(as_logits(np.array([[3, -4]]), "logits"), np.array([[3, -4]], dtype=np.float32))


@given(arrays(np.float64, (3, 5), elements=st.floats(1e-6, 1)))
def test_the_softmax_of_logits_gives_the_probabilities_back(raw):
    given = raw / raw.sum(1, keepdims=True)
    made = as_logits(given, "probabilities").astype(np.float64)
    assert look_like_probabilities(given)
    np.testing.assert_allclose(np.exp(made) / np.exp(made).sum(1, keepdims=True), given, rtol=1e-5)


@pytest.mark.parametrize(
    "values",
    [[[0.5, 0.6]], [[1.5, -0.5]], [[1.0]], [0.5, 0.5], np.zeros((0, 3)), [[np.nan, 1.0]], [[0.5, 0.5], [3.0, 4.0]]],
)
def test_what_does_not_look_like_probabilities(values):
    assert not look_like_probabilities(np.array(values))
    assert look_like_probabilities(np.array([[0.5, 0.4995], [1.0, 0.0]]))

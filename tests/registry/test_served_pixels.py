"""What a registered student is given: pixels from 0 to 255, and nothing that would become some in silence."""

import warnings

import numpy as np
import pytest

from tuition.registry.tuition_student import _stored

BRIGHT = np.full((2, 1, 3, 3), 200)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_whole_numbers_are_taken_as_they_are(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _stored(BRIGHT.astype(kind), np.dtype(np.uint8))
        assert _stored(np.zeros((0, 1, 3, 3), kind), np.dtype(np.uint8)).shape == (0, 1, 3, 3)
    assert found.dtype == np.uint8
    assert (found == 200).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.full((1, 1, 2, 2), 4095, np.uint16), "found uint16 from 4095 to 4095; expected uint8"),
        (np.full((1, 1, 2, 2), 0.5, np.float32), "found float32 from 0.5 to 0.5"),
        (np.full((1, 1, 2, 2), -1), "found int64 from -1 to -1"),
    ],
)
def test_other_numbers_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        _stored(given, np.dtype(np.uint8))


def test_what_a_server_makes_of_numbers_from_0_to_1_is_told():
    with pytest.warns(UserWarning, match="no pixel is brighter than 1"):
        _stored(np.array([[[[0, 1], [0, 0]]]], np.uint8), np.dtype(np.uint8))

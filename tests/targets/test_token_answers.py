"""Answers that are texts with the likeliest tokens: which are refused, and how they are kept."""

import numpy as np
import pytest

from tuition.targets.tokens import fault, left_out, pack, unpack

P = np.array([[0.5, 0.25], [0.75, 0.125]])
INDICES = np.array([[4, 3], [5, 4]])


def packed(values=P, indices=INDICES, text=(4, 5)):
    return {name: one[0] for name, one in pack([list(text)], [np.log(values)], [indices], 4).items()}


def test_what_is_packed_is_unpacked():
    found = pack([[4, 5], [6]], [np.log(P), np.log(P[:1])], [INDICES, INDICES[:1]], 4)
    assert {name: one.shape for name, one in found.items()} == {
        "text": (2, 4),
        "top_values": (2, 4, 2),
        "top_indices": (2, 4, 2),
    }
    assert unpack(found["text"]) == [[4, 5], [6]]
    np.testing.assert_allclose(left_out(found["top_values"], found["text"]), [0.25, 0.125, 0.25], rtol=1e-6)
    assert not fault(*(found[name][0] for name in ("text", "top_values", "top_indices")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"values": P[:, ::-1]}, "they do not descend"),
        ({"values": np.array([[0.9, 0.5], [0.5, 0.25]])}, "sum to 1.4, more than 1"),
        ({"indices": np.array([[4, 4], [5, 4]])}, "has not 2 different ones"),
        ({"indices": np.array([[4, -1], [5, 4]])}, "has not 2 different ones"),
    ],
)
def test_what_cannot_be_used_is_told(change, why):
    assert why in fault(
        **{
            key: packed(**change)[name]
            for key, name in (("text", "text"), ("values", "top_values"), ("indices", "top_indices"))
        }
    )


def test_an_empty_text_and_one_with_a_hole_are_told():
    one = packed()
    empty, hole = np.full(4, -1), np.array([4, -1, 5, -1])
    assert fault(empty, one["top_values"], one["top_indices"]) == "text: it is empty"
    assert "missing within" in fault(hole, one["top_values"], one["top_indices"])

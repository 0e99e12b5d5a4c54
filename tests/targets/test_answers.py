"""What teachers say of a sample, a class or a few with scores: read by a stated rule; what is unknown stays so until it is completed."""

import numpy as np
import pytest

from tuition.targets import answers
from tuition.targets.answers import Classes, NoAnswer
from tuition.targets.classes import complete, top_class

NAMES = Classes(["cat", "dog", "Polish", "polish", "A+", "A"])
DIGITS = Classes(range(10))


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ("dog", 1),
        (" Dog.\n", 1),
        ('"DOG"!', 1),
        ("**dog**", 1),
        ("Polish", 2),
        ("polish", 3),
        ("a+", 4),
        ("A", 5),
        (b"cat", 0),
        (np.str_("cat"), 0),
        (3, 3),
        (np.int64(5), 5),
        (2.0, 2),
    ],
)
def test_what_names_a_class(said, index):
    assert NAMES.index(said) == index


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("a dog", r"'a dog' is no class; valid: 'cat', 'dog'"),
        ("", "'' is no class"),
        ("POLISH", "'POLISH' may be any of 'Polish', 'polish'"),
        (6, "6 is no class; valid: a name, or an index from 0 to 5"),
        (-1, "-1 is no class"),
        (True, "True is no class"),
        (0.5, "0.5 is no class"),
        (float("nan"), "nan is no class"),
        (None, "None is no class"),
        (["dog"], r"\['dog'\] is no class"),
    ],
)
def test_what_names_none_is_told(said, text):
    with pytest.raises(NoAnswer, match=text):
        NAMES.index(said)


def test_a_text_is_a_name_and_a_number_an_index():
    other = Classes(["7", "3"])
    assert (other.index("3"), other.index(0)) == (1, 0)
    with pytest.raises(NoAnswer):
        other.index(3)


def test_labels_of_a_batch_and_the_rows_at_fault():
    found, faults = answers.labels(["cat", "bird", 1], 3, NAMES)
    assert found.tolist() == [0, -1, 1]
    assert list(faults) == [1]
    assert answers.labels(np.array([[1], [0]]), 2, NAMES)[0].tolist() == [1, 0]
    for odd in ("cat", ["cat"], {"cat": 1}, 3, np.ones((2, 6))):
        if isinstance(odd, np.ndarray):
            assert len(answers.labels(odd, 2, NAMES)[1]) == 2  # a row of numbers is no class
            continue
        with pytest.raises(NoAnswer, match="expected a class for each of 2 samples"):
            answers.labels(odd, 2, NAMES)


def test_the_first_few_classes_are_known_and_the_others_are_not():
    found, faults = answers.top_k([{"3": 0.7, 5: 0.2}, [("1", 1.0)]], 2, DIGITS)
    assert not faults
    assert np.isnan(found).sum(1).tolist() == [8, 9]
    np.testing.assert_allclose(np.exp(found[0, [3, 5]]), [0.7, 0.2], rtol=1e-6)
    np.testing.assert_allclose(np.exp(complete(found)).sum(1), 1, rtol=1e-5)
    assert top_class(found).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, "no class is named"),
        ({"11": 0.5}, "'11' is no class"),
        ({"3": 0.5, 3: 0.4}, "'3' is named twice"),
        ({"3": 87.0}, r"'3' has 87\.0; expected a probability, from 0 to 1"),
        ({"3": float("nan")}, "'3' has nan"),
        ({"3": "0.5"}, "'3' has '0.5'"),
        ({"3": True}, "'3' has True"),
        ({"3": 0.9, "4": 0.9}, r"sum to 1\.8; expected more than 0 and at most 1"),
        ({"3": 0.0}, "sum to 0"),
        ({i: 0.05 for i in range(10)}, r"sum to 0\.5; expected 1"),
        ("3", "expected {class: probability}, or pairs"),
        ([("3", 0.5, 1)], "expected {class: probability}, or pairs"),
    ],
)
def test_scores_that_are_none_are_told(said, text):
    found, faults = answers.top_k([said, {"1": 0.5}], 2, DIGITS)
    assert list(faults) == [0]
    assert np.isnan(found[0]).all()
    with pytest.raises(NoAnswer, match=text):
        answers.shares(said, DIGITS)


def test_completion_by_hand():
    """The rest evenly over the unknown, no more than the least known, no less than 1e-12; the known stay as they are."""
    nan = np.nan
    shares = np.array([[0.7, 0.2, nan, nan], [nan, 1.0, nan, nan], [0.3, 0.3, nan, 0.3], [0.5, nan, nan, 0.1]])
    made = np.exp(complete(np.log(shares).astype(np.float32)).astype(np.float64))
    expected = [[0.7, 0.2, 0.05, 0.05], [1e-12, 1, 1e-12, 1e-12], [0.3, 0.3, 0.1, 0.3], [0.5, 0.1, 0.1, 0.1]]
    np.testing.assert_allclose(made, expected, rtol=1e-4)


def test_what_is_all_known_is_given_back_as_it_is():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert complete(logits) is logits

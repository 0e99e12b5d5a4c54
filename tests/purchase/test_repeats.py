"""How often samples are asked for, what is made of several answers, and how far they agree; as values, without a purchase."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuition.ledger.keys import Request
from tuition.params.teacher import teacher_settings
from tuition.purchase.combined import Answers, combine
from tuition.purchase.order import make_order
from tuition.purchase.plausible import repeats as check
from tuition.purchase.repeats import repeats_of

POOL = [Request(f"{i:064x}") for i in range(400)]
VIEWS = [one._replace(view=f"crop=0,{shift},8,8;flip=0") for one in POOL[:100] for shift in range(4)]


def order(budget, samples=1, canary=8, pool=POOL, **more):
    teacher = teacher_settings(kind="python", function="a:b", samples=samples, canary=canary, **more)
    return make_order(pool, budget, teacher, repeats_of(teacher, budget))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 100), st.integers(1, 7), st.integers(1, 20), st.booleans())
def test_a_smaller_budget_and_fewer_answers_are_part_of_a_larger_purchase(budget, more, samples, canary, of_views):
    pool = VIEWS if of_views else POOL
    asked = order(budget, samples, canary, pool).requests
    assert len(set(asked)) == len(asked)
    assert budget - samples < len(asked) <= budget
    assert set(asked) <= set(order(budget + more, samples, canary, pool).requests)
    number = len({one.repeated(0) for one in asked})
    assert set(asked) <= set(order(number * (samples + 1), samples + 1, canary, pool).requests)


def test_the_canary_sees_as_many_samples_as_calls():
    asked = order(30, samples=3, canary=4).requests
    assert asked[:4] == tuple(POOL[:4])
    assert [one.repeat for one in asked[4:12]] == [1, 2] * 4
    assert asked[12:15] == tuple(POOL[4].repeated(number) for number in range(3))


@pytest.mark.parametrize(
    ("section", "twice"),
    [
        ({"kind": "python", "function": "a:b"}, True),
        ({"kind": "mlflow", "url": "http://a"}, True),
        ({"kind": "python", "function": "a:b", "samples": 2}, False),
        ({"kind": "python", "function": "a:b", "recheck": {"every": 50}}, False),
        ({"kind": "python", "function": "a:b", "unchecked": ["repeats"]}, False),
        ({"kind": "table", "name": "t", "path": "a.csv"}, False),
        ({"kind": "checkpoint"}, False),
    ],
)
def test_a_second_answer_is_asked_for_where_it_tells_something_and_is_affordable(section, twice):
    made = teacher_settings(**section)
    assert repeats_of(made, 100).twice is twice
    assert not repeats_of(made, 99).twice
    assert not repeats_of(made, 100, listed=True).twice


def test_the_mean_of_probabilities_leaves_unknown_what_no_answer_knows():
    asked = [one.repeated(number) for one in POOL[:2] for number in range(2)]
    nan = np.nan
    shares = [[0.8, 0.1, nan, nan], [0.6, nan, 0.3, nan], [0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]]
    given = Answers(asked, {"logits": np.log(shares).astype(np.float32)}, np.array([1, 2, 3, 4]))
    made = combine(given, 2, 4)
    assert (made.requests, made.costs.tolist()) == (POOL[:2], [3, 7])
    # Of an answer that does not know a class, what is left over counts, spread evenly: 0.1 / 2 and 0.1 / 2.
    expected = [[0.7, (0.1 + 0.05) / 2, (0.05 + 0.3) / 2, nan], [0.4, 0.4, 0.1, 0.1]]
    np.testing.assert_allclose(np.exp(made.signals["logits"]), expected, rtol=1e-5)


def test_other_arrays_have_their_mean_and_bits_the_first():
    asked = [POOL[0], POOL[0].repeated(1), POOL[0].repeated(2)]
    signals = {"embedding": np.eye(3, dtype=np.float16), "sign1": np.array([[1], [2], [2]], dtype=np.uint8)}
    made = combine(Answers(asked, signals, np.zeros(3, dtype=np.int64)), 3, 10).signals
    np.testing.assert_allclose(made["embedding"], np.full((1, 3), 1 / 3), rtol=1e-3)
    assert (made["embedding"].dtype, made["sign1"].tolist()) == (np.float16, [[1]])


def test_answers_beyond_those_that_were_asked_for_are_left_out():
    asked = [POOL[0], POOL[0].repeated(1), POOL[0].again(2), POOL[1]]
    given = Answers(asked, {"label": np.array([3, 4, 5, 6], dtype=np.int32)}, np.ones(4, dtype=np.int64))
    made = combine(given, 1, 10)
    assert (made.requests, made.signals["label"].tolist()) == ([POOL[0], POOL[1]], [3, 6])


@pytest.mark.parametrize(
    ("second", "state", "says"),
    [
        ([2.0, 1.0], "passed", "1 sample was asked for twice: the same answer to the bit each time"),
        (
            [3.0, 1.0],
            "noted",
            "twice: the same class; the largest difference of a probability is 0.15",
        ),
        ([1.0, 2.0], "noted", "twice: another class; the largest difference of a probability is 0.46"),
    ],
)
def test_how_far_a_teacher_repeats_itself_is_said(second, state, says):
    logits = np.array([[2.0, 1.0], second, [0.0, 5.0]], dtype=np.float32)
    found = check.check(check.measure([POOL[0], POOL[0].repeated(1), POOL[1]], {"logits": logits}))
    assert (found.state, says in found.found) == (state, True), found.found


def test_of_many_it_is_counted():
    asked = [one.repeated(number) for one in POOL[:3] for number in range(3)]
    labels = np.array([1, 1, 1, 2, 2, 3, 4, 4, 4], dtype=np.int32)
    measured = check.measure(asked, {"label": labels})
    assert measured is not None
    assert (measured.samples, measured.answers, measured.same_answer, measured.same_class) == (3, 9, 2, 2)
    assert "3 samples were asked for 9 times in all: 2 got the same class each time" in check.check(measured).found
    assert check.check(None).state == "skipped"

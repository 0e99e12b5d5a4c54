"""Which samples an allowance buys: what is paid for keeps its place, and nothing passes what is left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuition.errors import UserError
from tuition.intake.champion import margin
from tuition.intake.choose import choose
from tuition.params.bounds import Recheck
from tuition.purchase import recheck as drift

NEVER = Recheck()


def chosen(previous, paid, candidates, left, again=(), recheck=NEVER, made=0):
    return choose(previous, paid, set(again), candidates, left, recheck, lambda first, budget: made)


def test_what_is_paid_for_comes_first_and_then_the_best_that_fit():
    one = chosen([], ["a", "b"], ["x", "y", "z"], 2)
    assert (one.order, one.new, one.budget, one.calls) == (["a", "b", "x", "y"], ["x", "y"], 4, 2)


def test_the_order_of_the_last_refresh_stays():
    assert chosen(["c", "a", "b"], ["a", "b", "c", "d"], [], 9).order == ["c", "a", "b", "d"]


def test_an_order_that_was_paid_for_is_written_again_and_buys_nothing():
    first = chosen([], ["a"], ["x", "y"], 2)
    again = chosen(first.order, ["a", "x", "y"], [], 0)
    assert (again.order, again.budget, again.new, again.calls) == (first.order, first.budget, [], 0)


def test_of_a_purchase_that_was_broken_off_the_rest_is_bought():
    first = chosen([], ["a"], ["x", "y", "z"], 3)
    left = 3 - 1  # y was bought
    again = chosen(first.order, ["a", "y"], ["x", "z"], left)
    assert again.order == ["a", "y", "x", "z"]
    assert set(again.order) == set(first.order)
    assert again.calls == 2


def test_what_was_listed_and_not_paid_for_is_dropped_where_nothing_is_left():
    assert chosen(["a", "x", "y"], ["a"], ["x", "y"], 0).order == ["a"]


def test_calls_that_are_sent_again_count():
    one = chosen([], ["a", "b", "c"], ["x", "y"], 2, again=["b"])
    assert (one.order, one.new, one.calls) == (["a", "b", "c", "x"], ["x"], 2)
    none = chosen([], ["a", "b", "c"], ["x"], 0, again=["b"])
    assert (none.order, none.calls) == (["a", "c"], 0)


def test_asking_the_first_again_counts():
    recheck = Recheck(every=10, samples=4)
    paid = [str(i) for i in range(10)]
    candidates = [f"x{i}" for i in range(9)]
    one = chosen([], paid, candidates, 6, recheck=recheck)
    assert (one.new, one.budget, one.calls) == (["x0", "x1"], 16, 6)  # two new ones, and the first four again
    assert drift.samples_for(one.budget, recheck) == 12
    more = chosen([], paid, candidates, 6, recheck=recheck, made=4)
    assert (len(more.new), more.calls) == (6, 6)


def test_where_asking_again_takes_more_than_is_left_nothing_is_bought():
    one = chosen([], [str(i) for i in range(20)], ["x"], 3, recheck=Recheck(every=10, samples=4))
    assert (one.order, one.budget, one.calls) == ([], 0, 0)


@given(
    st.lists(st.integers(0, 30), unique=True),
    st.lists(st.integers(0, 30), unique=True),
    st.integers(0, 12),
    st.integers(0, 8),
    st.integers(5, 12) | st.none(),
)
def test_no_plan_passes_what_is_left(previous, paid, new, left, every):
    recheck = Recheck(every=every, samples=3)
    candidates = [f"x{i}" for i in range(new)]
    one = chosen(previous, paid, candidates, left, recheck=recheck)
    assert one.calls <= left
    assert len(set(one.order)) == len(one.order)
    if one.order:
        assert one.order[: len(paid)] == [p for p in previous if p in paid] + [p for p in paid if p not in previous]
        assert one.new == candidates[: len(one.new)]
        assert drift.samples_for(one.budget, recheck) >= len(one.order)
    if every is None:
        assert len(one.new) == min(new, left)


def test_a_margin_is_the_largest_less_the_second():
    given = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]], dtype=np.float32)
    assert margin(given) == pytest.approx([0.5, 0.0], abs=1e-7)
    with pytest.raises(UserError, match="not finite"):
        margin(np.array([[np.nan, 1.0]]))

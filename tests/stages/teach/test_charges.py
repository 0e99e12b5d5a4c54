"""What a call is charged at: what the server says it took, and where it says nothing, the most that it may have taken."""

import numpy as np
import pytest
from support.loopback import Server
from support.plain import Plain
from support.purchases import Shop

from tuition.errors import UserError
from tuition.ledger.spending import CapReached
from tuition.purchase.account import real, worst
from tuition.purchase.order import Order, check
from tuition.teachers import Reply


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.mark.parametrize(
    ("cap", "more", "words"),
    [
        ({"money": 1.0}, {}, r"teacher.cap.money: 1, but teacher.price is 0"),
        ({"run": {"money": 1.0}}, {}, r"teacher.cap.run.money: 1, but teacher.price is 0"),
        ({"period": {"money": 1.0}}, {"price": 0.0}, r"teacher.cap.period.money"),
        ({"tokens": 10}, {}, r"teacher.cap.tokens: set, but teacher.max_tokens_per_call is null"),
        ({"period": {"tokens": 10}}, {"price": 1.0}, r"teacher.cap.period.tokens: set, but"),
        ({"run": {"money": 1.0}}, {"price": {"input": 1.0}}, r"teacher.cap.run.money: set, but teacher.max_tokens_per"),
    ],
)
def test_a_bound_on_what_is_not_known_is_refused(server, cap, more, words):
    with pytest.raises(UserError, match=words):
        Shop(server, 10, cap=cap, **more)
    assert server.received == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"cap": 39}, "teacher.cap: 39 calls in the teacher's life, 0 are spent and this budget needs 40 more"),
        (
            {"cap": {"money": 3.9}, "price": 0.1},
            "teacher.cap.money: 3.9 in the teacher's life, 0 are spent and this budget needs 4 more",
        ),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_is_sent(server, more, words):
    shop = Shop(server, 40, **more)
    with pytest.raises(UserError, match=words):
        check(shop.account, Order(tuple(shop.requests), ()), shop.standing())
    check(shop.account, Order(tuple(shop.requests[:39]), ()), shop.standing())


def test_a_cap_is_rounded_down_where_a_price_is_rounded_up(server):
    """A tenth of a millionth a call counts as a millionth; 2.9 millionths hold two of these, not three."""
    shop = Shop(server, 40, cap={"money": 0.0000029}, price=0.0000001)
    with pytest.raises(CapReached, match=r"teacher\.cap\.money"):
        shop.buy()
    assert len(server.processed) == 2
    shop.check()


class Silent(Plain):
    """Says this of tokens, or nothing."""

    def __init__(self, **said):
        super().__init__()
        self.said = said

    def read(self, body, headers, keys):
        return Reply(super().read(body, headers, keys).signals, **self.said)


@pytest.mark.parametrize(
    ("said", "price", "tokens", "money"),
    [
        ({}, {"call": 0.1, "input": 100.0, "output": 1000.0}, 50, 0.15),
        (
            {"output_tokens": 10},
            {"input": 100.0, "output": 1000.0},
            50,
            0.014,
        ),  # the other 40 may have been the question
        ({"input_tokens": 10}, {"input": 100.0, "output": 1000.0}, 50, 0.041),
        ({"output_tokens": 10}, {"output": 1000.0}, 10, 0.01),
        ({"input_tokens": 0, "output_tokens": 0}, {"call": 0.1, "input": 100.0}, 0, 0.1),
        ({"input_tokens": 60}, {"input": 100.0, "output": 1000.0}, 60, 0.006),
    ],
)
def test_what_the_server_does_not_say_is_charged_at_the_most(server, said, price, tokens, money):
    shop = Shop(server, 20, format=Silent(**said), price=price, max_tokens_per_call=50)
    shop.buy()
    assert shop.spent() == (20, 20 * tokens, round(20 * money * 1e6))
    shop.check()


@pytest.mark.parametrize("scope", [{"tokens": 1000}, {"run": {"tokens": 1000}}, {"period": {"tokens": 1000}}])
@pytest.mark.parametrize("said", ["input_tokens", "output_tokens"])
def test_where_tokens_have_a_bound_those_that_the_server_does_not_say_count_whatever_their_price(server, said, scope):
    shop = Shop(server, 20, format=Silent(**{said: 10}), cap=scope, price={"output": 1000.0}, max_tokens_per_call=50)
    shop.buy()
    assert shop.spent()[:2] == (20, 20 * 50)
    shop.check()


def test_a_request_is_shared_out_over_its_calls_to_the_token(server):
    shop = Shop(server, 20, batch_size=3, price={"output": 3.0}, max_tokens_per_call=20)  # 7 tokens a request
    shop.buy()
    assert len(server.received) == 8  # one alone, the rest of the first eight in 3 + 3 + 1, the others in threes
    assert shop.spent() == (20, 8 * 7, 8 * 7 * 3)
    settings = shop.settings
    assert [one.tokens for one in real(settings, [worst(settings)] * 3, 4, 4)] == [4, 2, 2]
    assert sum(one.tokens for one in real(settings, [worst(settings)] * 7, 100, 1)) == 101
    assert worst(settings).cost == 60


@pytest.mark.parametrize("capped", [True, False])
def test_a_call_that_takes_more_tokens_than_any_may_stops_the_run_where_a_bound_rests_on_that(server, capped):
    cap = {"period": {"money": 1.0}} if capped else {}
    shop = Shop(server, 40, max_in_flight=2, canary=1, max_tokens_per_call=5, price={"output": 10.0}, cap=cap)
    if capped:
        with pytest.raises(UserError, match=r"teacher.max_tokens_per_call: 5, but a call took 7 tokens"):
            shop.buy()
        assert len(shop.owned()) == len(server.processed) == 1
    else:
        assert shop.buy() == 40
    assert shop.spent()[2] == 70 * len(server.processed)
    shop.check()


def test_a_function_says_nothing_of_tokens_and_is_charged_at_the_most(server):
    """The bounds of a teacher that is no server are kept too."""
    shop = Shop(server, 40, cap={"tokens": 100}, price={"call": 0.5, "input": 10.0}, max_tokens_per_call=20)
    shop.asks(lambda images: np.arange(10.0 * len(images)).reshape(len(images), 10))
    with pytest.raises(CapReached, match=r"teacher.cap.tokens: 100 tokens spent of 100"):
        shop.buy()
    assert shop.spent() == (5, 100, 5 * 500_200)
    shop.check()

"""Bounds on calls, tokens and money, over a run, a period and a life: kept to the last cent, and used up."""

import time

import pytest
from support import loopback as lo
from support.loopback import Server
from support.purchases import Shop, process

from tuition.errors import UserError
from tuition.ledger import accounts, calls, schema
from tuition.ledger.spending import DAY, CapReached
from tuition.purchase import others
from tuition.teachers import backoff

NOON = 20_000 * DAY + DAY // 2  # 2024-10-04, a Friday
TOKENS = {"price": {"call": 0.003, "output": 1000.0}, "max_tokens_per_call": 497}  # a call may cost 0.5, and costs 0.01


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(others, "POLL_SECONDS", 0.02)


@pytest.fixture
def clock(monkeypatch):
    """Stands at noon; `clock.at` is set to move it."""

    class Clock:
        at = float(NOON)

    monkeypatch.setattr(time, "time", lambda: Clock.at)
    return Clock


def scoped(scope: str, **bound) -> dict:
    return {"cap": bound if scope == "life" else {scope: bound}}


SCOPES = {"life": "teacher.cap", "run": r"teacher.cap.run", "period": r"teacher.cap.period"}


@pytest.mark.parametrize("in_flight", [1, 8])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("bound", "more", "number", "words"),
    [
        ({"calls": 25}, {}, 25, r": 25 calls spent of 25"),
        (
            {"tokens": 100},
            {"max_tokens_per_call": 20},
            12,
            r".tokens: 84 tokens spent of 100 .*, and a call may take 20",
        ),
        ({"money": 1.0}, {"price": 0.03}, 33, r".money: 0.99 spent of 1 .*, and a call may cost 0.03"),
        ({"money": 1.0}, TOKENS, 51, r".money: 0.51 spent of 1 .*, and a call may cost 0.5"),
    ],
    ids=["calls", "tokens", "price a call", "price a token"],
)
def test_a_bound_is_used_up_and_never_passed(server, scope, in_flight, bound, more, number, words):
    """What a call may come to is held back until its answer says what it came to: neither let through nor clamped shut."""
    counted = []

    async def looks(server, request, writer):
        counted.append(shop.spent())
        await lo.well(server, request, writer)

    server.script.extend([looks] * 1000)
    shop = Shop(server, 200, max_in_flight=in_flight, **scoped(scope, **bound), **more)
    with pytest.raises(CapReached, match=SCOPES[scope] + words):
        shop.buy()
    assert len(server.processed) == len(shop.owned()) == number
    limit = tuple(bound.get(unit, 1e9) * (1e6 if unit == "money" else 1) for unit in ("calls", "tokens", "money"))
    assert all(one <= most for spent in counted for one, most in zip(spent, limit, strict=True))
    shop.check()
    again = Shop(server, 200, max_in_flight=in_flight, **scoped(scope, **bound), **more)
    with pytest.raises(CapReached, match=SCOPES[scope] + words):
        again.buy()
    assert len(server.processed) == (2 if scope == "run" else 1) * number


@pytest.mark.parametrize(
    ("tightest", "number", "words"),
    [
        ({"calls": 10}, 10, r"teacher.cap: 10 calls"),
        ({"tokens": 90, "run": {"calls": 50, "tokens": 600}}, 6, r"teacher.cap.tokens: 42"),
        ({"run": {"money": 0.6}}, 11, r"teacher.cap.run.money: 0.11 spent of 0.6"),
        ({"period": {"calls": 7, "tokens": 10_000, "every": "month"}}, 7, r"teacher.cap.period: 7 calls .* this month"),
    ],
)
def test_all_bounds_hold_at_once(server, tightest, number, words):
    wide = {
        "calls": 60,
        "tokens": 60_000,
        "money": 50.0,
        "run": {"calls": 55, "money": 50.0},
        "period": {"money": 50.0},
    }
    more = TOKENS | ({"max_tokens_per_call": 50} if "tokens" in tightest else {})
    shop = Shop(server, 80, cap=wide | tightest, **more)
    with pytest.raises(CapReached, match=words):
        shop.buy()
    assert len(server.processed) == number
    shop.check()


@pytest.mark.parametrize(("every", "later"), [("day", 1), ("week", 3), ("month", 28)])
def test_a_period_ends_with_its_last_day(server, clock, every, later):
    cap = {"period": {"calls": 10, "every": every}}
    shop = Shop(server, 40, cap=cap)
    with pytest.raises(CapReached, match=f"10 calls spent of 10 this {every}"):
        shop.buy()
    clock.at = NOON + (later - 1) * DAY + DAY // 2 - 1  # its last second
    with pytest.raises(CapReached, match=f"10 calls spent of 10 this {every}"):
        Shop(server, 40, cap=cap).buy()
    assert len(server.processed) == 10
    clock.at += 1
    with pytest.raises(CapReached, match=f"10 calls spent of 10 this {every}"):
        Shop(server, 40, cap=cap).buy()
    assert len(server.processed) == 20
    assert {day: one[0] for day, one in shop.by_day().items()} == {-later: 10, 0: 10}
    shop.check()


def test_a_clock_that_goes_back_is_told_and_nothing_is_sent(server, clock):
    cap = {"period": {"money": 10.0}}
    Shop(server, 10, cap=cap, price=0.1).buy()
    clock.at -= DAY
    shop = Shop(server, 20, cap=cap, price=0.1)
    with pytest.raises(
        UserError, match=r"the clock says 2024-10-03 .*booked on 2024-10-04.*Set the clock right, or remove"
    ):
        shop.buy()
    assert len(server.processed) == 10
    clock.at += DAY // 2 - 60  # a minute before midnight: the clocks of two machines are that far apart
    assert shop.buy() == 10
    shop.check()


def test_what_is_under_way_at_midnight_is_booked_on_one_day(server, clock):
    """Reserved before, answered after it: reconciled and given back where it was booked."""
    clock.at = NOON + DAY // 2 - 1

    async def later(server, request, writer):
        clock.at = NOON + DAY // 2 + 60
        await lo.well(server, request, writer)

    server.script.extend([lo.well] * 8 + [later])
    shop = Shop(server, 16, max_in_flight=8, **TOKENS)
    assert shop.buy() == 16
    assert shop.by_day() == {-1: (16, 112, 160_000)}
    shop.check()


def test_a_clock_that_ticks_between_counting_and_writing(server, monkeypatch):
    """Midnight may fall between any two lines."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: NOON + 0.37 * DAY * next(ticks))
    shop = Shop(server, 12, max_in_flight=4, **TOKENS)
    made = calls.reserve(shop.ledger, shop.account.run, shop.requests, tokens=5, cost=10)
    calls.mark_sent(shop.ledger, shop.account.run, made)
    calls.refund(shop.ledger, shop.account.run, made, "test")
    assert [one for one in shop.by_day().values() if one != (0, 0, 0)] == []
    shop.check()


def test_refunds_and_what_is_resolved_are_given_back_to_their_day(server, clock):
    server.script.extend([lo.well] * 8 + [lo.closes_after] * 2)
    shop = Shop(server, 10, max_malformed=0.5, cap={"period": {"calls": 10}}, price=0.5)
    shop.buy()
    clock.at += DAY
    assert shop.by_day() == {-1: (10, 56, 5_000_000)}
    first, second = (one["id"] for one in accounts.listed(shop.ledger, shop.account.id, ["unknown"]))
    assert accounts.resolve(shop.ledger, shop.account.id, False, None, [first]) == 1
    assert shop.by_day() == {-1: (9, 56, 4_500_000)}
    assert accounts.resolve(shop.ledger, shop.account.id, True, None, [second]) == 1
    assert shop.spent() == (9, 56, 4_500_000)  # charged, and nobody says how much: what was held back stays spent
    shop.check()
    assert Shop(server, 10, cap={"period": {"calls": 10}}, price=0.5).buy() == 1
    assert shop.by_day() == {-1: (9, 56, 4_500_000), 0: (1, 7, 500_000)}
    shop.check()


def test_what_a_lost_call_really_cost_can_be_told(server):
    server.script.extend([lo.well] * 8 + [lo.closes_after] * 2)
    shop = Shop(server, 10, max_malformed=0.5, price=0.5)
    shop.buy()
    assert accounts.resolve(shop.ledger, shop.account.id, True, 0.125) == 2
    assert shop.spent() == (10, 56, 4_250_000)
    shop.check()


def test_calls_that_are_sent_again_count_for_the_run_and_the_day_that_send_them(server, clock):
    server.script.extend([lo.well] * 8 + [lo.fails] * 10_000)
    shop = Shop(server, 20, idempotent=True, max_malformed=0.9, patience=0.1, max_in_flight=4, **TOKENS)
    with pytest.raises(UserError, match="calls brought no answer"):
        shop.buy()
    assert shop.calls["unknown"] >= 4
    server.script.clear()
    clock.at += DAY
    again = Shop(server, 20, idempotent=True, cap={"run": {"calls": 3}}, **TOKENS)
    before = len(server.processed)
    with pytest.raises(CapReached, match=r"teacher.cap.run: 3 calls spent of 3"):
        again.buy()
    assert len(server.processed) == before + 3
    assert again.by_day()[0] == (3, 21, 30_000)
    again.check()
    last = Shop(server, 20, idempotent=True, cap={"period": {"money": 0.52}}, **TOKENS)
    with pytest.raises(CapReached, match=r"teacher.cap.period.money: 0.03 spent of 0.52 this day"):
        last.buy()


def test_a_call_that_was_lost_when_it_was_cheap_is_held_back_at_the_new_price(server):
    server.script.extend([lo.well] * 8 + [lo.closes_after] * 10_000)
    shop = Shop(server, 20, idempotent=True, max_malformed=0.9, patience=0.1, max_in_flight=4)
    with pytest.raises(UserError):
        shop.buy()
    assert shop.calls["unknown"] >= 4
    server.script.clear()
    again = Shop(server, 20, idempotent=True, price=1.0, cap={"money": 3.5})
    before = len(server.processed)
    with pytest.raises(CapReached, match=r"teacher.cap.money: 3 spent of 3.5"):
        again.buy()
    assert len(server.processed) == before + 3
    again.check()


@pytest.mark.parametrize("more", [{"cap": 30}, {"cap": {"money": 1.2}, **TOKENS}], ids=["calls", "money"])
@pytest.mark.usefixtures("new_place")
def test_two_processes_share_what_is_left_and_use_it_up(server, more):
    """They want other samples each; the one that finds no room waits for what the other holds."""
    server.script.extend([lo.slowly(0.02)] * 1000)
    both = [process(server, count=100, seed=seed, max_in_flight=4, **more) for seed in (0, 1)]
    for one in both:
        error = one.communicate(timeout=100)[1]
        assert one.returncode == 2, error
        assert "teacher.cap" in error
    shop = Shop(server, 1)
    assert len(server.processed) == shop.calls["done"] == (30 if more["cap"] == 30 else 71)
    assert shop.spent(schema.spending) == shop.spent()
    shop.check()

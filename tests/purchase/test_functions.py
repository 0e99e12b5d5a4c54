"""A function is as reliable as a server: many at a time, asked again where that costs nothing, and no call's fate is guessed."""

import asyncio
import threading
import time

import httpx
import numpy as np
import pytest
from support.loopback import Server, status
from support.purchases import Shop

from tuition.errors import UserError
from tuition.teachers.billing import code_of_exception
from tuition.teachers.passing import meaning
from tuition.teachers.protocol import Refused, Uncertain


class Busy(Exception):
    pass


@pytest.fixture
def server():
    """Of a shop, which then asks a function instead."""
    with Server() as one:
        yield one


def right(images, keys):
    """What the shop expects of each image under its key."""
    return np.array(
        [[one.sum(), *(int(d, 16) for d in key[:9])] for one, key in zip(images, keys, strict=True)], np.float32
    )


def shop_of(server, function, count=40, retry=(), **settings):
    shop = Shop(server, count, batch_size=1, **settings)
    shop.asks(function, retry=list(retry))
    return shop


@pytest.mark.parametrize("in_flight", [1, 8])
@pytest.mark.parametrize("is_async", [False, True])
def test_so_many_are_asked_at_a_time(server, in_flight, is_async):
    under_way, most, lock = [0], [0], threading.Lock()

    def begin():
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])

    def end():
        with lock:
            under_way[0] -= 1

    def waits():
        """Until as many as may be are under way, or a second is over: the first call goes alone."""
        end = time.monotonic() + 1
        while most[0] < in_flight and time.monotonic() < end:
            yield 0.01

    def sync(images, keys):
        begin()
        for seconds in waits():
            time.sleep(seconds)
        end()
        return right(images, keys)

    async def awaited(images, keys):
        begin()
        for seconds in waits():
            await asyncio.sleep(seconds)
        end()
        return right(images, keys)

    shop = shop_of(server, awaited if is_async else sync, max_in_flight=in_flight)
    assert shop.buy() == 40
    assert shop.owned() == shop.requests
    assert most[0] == in_flight


def test_a_time_out_now_and_then_costs_its_call_and_stops_nothing(server):
    asked = []

    def sometimes(images, keys):
        asked.extend(keys)
        if len(asked) in (1, 20, 33):  # the very first call, too
            raise TimeoutError("no answer in time")
        return right(images, keys)

    shop = shop_of(server, sometimes)
    assert shop.buy() == 40
    assert shop.calls == {"done": 37, "unknown": 3}
    assert len(asked) == len(set(asked)) == 40
    assert shop.buy() == 0  # never sent again by itself


def test_a_teacher_that_is_gone_is_noticed_after_a_few(server):
    def gone(images):
        raise TimeoutError("no answer in time")

    shop = shop_of(server, gone, max_unknown=0.05)
    with pytest.raises(
        UserError, match=r"4 of 4 calls brought no answer .*TimeoutError: no answer in time.*teacher.max_unknown"
    ):
        shop.buy()
    assert shop.calls == {"unknown": 4}


def test_where_asking_again_is_never_charged_twice_it_is_asked_again_under_the_same_key(server):
    asked = []

    def twice(images, keys):
        asked.extend(keys)
        if asked.count(keys[0]) == 1 and len(set(asked)) % 10 == 0:
            raise TimeoutError
        return right(images, keys)

    shop = shop_of(server, twice, idempotent=True)
    assert shop.buy() == 40
    assert shop.calls == {"done": 40}
    assert (len(asked), len(set(asked))) == (44, 40)


def test_what_was_surely_not_processed_is_asked_again_and_given_back_when_patience_is_over(server):
    asked = []

    def refuses(images, keys):
        asked.extend(keys)
        if len(asked) in (5, 6):
            raise Refused("429")
        if len(asked) > 20:
            raise ConnectionRefusedError("nobody listens")
        return right(images, keys)

    shop = shop_of(server, refuses, patience=2.0)
    with pytest.raises(UserError, match=r"nobody listens; \d+ attempts in 2 s \(teacher.patience\)"):
        shop.buy()
    assert shop.calls["done"] == len(shop.owned()) == 18
    assert "unknown" not in shop.calls


EMPTY = b'{"error": {"message": "see your plan", "type": "insufficient_quota", "code": "insufficient_quota"}}'


def answering(server, body):
    """A function that asks the server with httpx; a 429 is `Refused`, as docs/your_teacher.md has it."""
    server.script.append(status(429, body=body))

    def ask(images, keys):
        try:
            httpx.post(f"{server.url}/ask", content=b"{}").raise_for_status()
        except httpx.HTTPStatusError as failed:
            raise Refused("429") from failed

    return ask


def test_a_refusal_that_says_the_account_is_empty_is_not_waited_for(server):
    shop = shop_of(server, answering(server, EMPTY), patience=300.0)
    with pytest.raises(
        UserError, match=r"teacher.function: the account has no quota.*insufficient_quota.*Refused: 429"
    ):
        shop.buy()
    assert shop.calls == {"refunded": 1}


def test_an_error_that_nobody_declared_stops_at_once_and_shows_the_users_own_line(server):
    def breaks(images):
        return {}["lost"]

    with pytest.raises(UserError, match=r"KeyError: 'lost' \(test_functions.py, line \d+: `return \{\}\[\"lost\"\]`\)"):
        shop_of(server, breaks).buy()


def test_declared_errors_pass(server):
    asked = []

    def busy(images, keys):
        asked.extend(keys)
        if len(asked) == 10:
            raise Busy("later")
        return right(images, keys)

    shop = shop_of(server, busy, retry=["test_functions.Busy"])
    assert shop.buy() == 40
    assert shop.calls == {"done": 39, "unknown": 1}


def test_class_names_are_given_to_a_function_that_takes_them(server):
    given = []

    def knows(images, keys, classes):
        given.append(classes)
        return right(images, keys)

    assert shop_of(server, knows, count=4).buy() == 4
    assert all(isinstance(one, list) for one in given)


def made(package, name, *bases):
    """A client's error class as its package spells it, without the package."""
    return type(name, bases or (Exception,), {"__module__": f"{package}.inner"})


class Told(Exception):
    """An error with what clients keep of an answer."""

    def __init__(self, **kept):
        super().__init__("429")
        vars(self).update(kept)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Told(code="insufficient_quota", body=None), "insufficient_quota"),  # openai
        (
            Told(code=None, body={"type": "error", "error": {"type": "credit_balance_too_low"}}),
            "credit_balance_too_low",
        ),
        (Told(body=EMPTY.decode()), "insufficient_quota"),
        (Told(code=429, type="rate_limit_exceeded", body={"code": "rate_limit_exceeded"}), None),
        (Told(response=httpx.Response(429, content=EMPTY)), "insufficient_quota"),
        (Told(response=httpx.Response(429, stream=httpx.ByteStream(EMPTY))), None),  # nobody has read it
        (Refused("429"), None),
    ],
)
def test_what_a_client_keeps_of_an_answer_says_whether_the_account_is_empty(error, code):
    assert code_of_exception(error) == code


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (TimeoutError(), Uncertain),
        (ConnectionResetError(), Uncertain),
        (ConnectionRefusedError(), Refused),
        (Refused(), Refused),
        (made("httpx", "ConnectError", made("httpx", "TransportError"))(), Refused),
        (made("httpx", "ReadTimeout", made("httpx", "TransportError"))(), Uncertain),
        (made("requests", "ReadTimeout", made("requests", "Timeout"))(), Uncertain),
        (made("openai", "APITimeoutError", made("openai", "APIConnectionError"))(), Uncertain),
        (made("openai", "RateLimitError")(), Refused),
        (made("openai", "AuthenticationError")(), None),
        (ValueError(), None),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_what_an_error_means_for_the_bill(error, fate):
    assert meaning(error) is fate

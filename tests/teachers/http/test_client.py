"""The HTTP client against a real server: what is sent, over which connections, how fast, and what comes before the first call."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from support import loopback as lo
from support.loopback import Server, status
from support.plain import Plain, ask, expected, question, settings, teacher

from tuition.errors import UserError
from tuition.teachers import HttpRequest, Stop, backoff


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(backoff, "LONGEST_WAIT", 0.1)


def test_an_answer_and_what_is_sent(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "abc123")
    one = teacher(server, api_key_env="MY_KEY")
    (reply,) = ask(one, 1)
    np.testing.assert_array_equal(reply.signals["logits"], expected(*question(1)))
    assert (reply.malformed, reply.output_tokens) == (None, 7)
    (sent,) = server.received
    key = question(1)[1][0]
    assert sent.path == "/ask"
    assert sent.headers["authorization"] == "Bearer abc123"
    assert sent.headers["idempotency-key"] == key
    assert sent.headers["x-request-id"] == f"{key}-1"
    assert sent.headers["content-type"] == "application/json"
    assert one.client.seen == {"requests": 1, "refused": 0, "uncertain": 0, "retried": 0}
    assert (one.signals, one.families, one.constants()) == (("logits",), ("logits",), {})


def test_several_images_have_one_key_made_of_theirs(server):
    images, keys = question(1, count=3)

    async def run():
        async with teacher(server) as one:
            return await one.answer(images, keys), await one.answer(images, keys[::-1])

    reply, other = asyncio.run(run())
    np.testing.assert_array_equal(reply.signals["logits"], expected(images, keys))
    first, second = (one.headers["idempotency-key"] for one in server.received)
    assert len(first) == 32
    assert int(first, 16)
    assert first != second
    assert other.malformed is None


def test_connections_are_used_again_and_never_more_than_allowed(server):
    async def run():
        async with teacher(server, max_in_flight=4) as one:
            server.script.extend([lo.slowly(0.05)] * 40)
            return await asyncio.gather(*(one.answer(*question(number)) for number in range(40)))

    replies = asyncio.run(run())
    for number, reply in enumerate(replies):
        np.testing.assert_array_equal(reply.signals["logits"], expected(*question(number)))
    assert server.most_under_way == 4
    assert server.connections == 4


def test_waiting_for_a_place_is_no_part_of_an_attempt(server):
    async def run():
        async with teacher(server, max_in_flight=1, timeout=1.0) as one:
            server.script.extend([lo.slowly(0.4)] * 4)
            return await asyncio.gather(*(one.answer(*question(number)) for number in range(4)))

    assert all(reply.malformed is None for reply in asyncio.run(run()))


def test_the_description_has_no_address(server):
    one = teacher("http://somebody:password@127.0.0.1:9/base", model="m", mean=[0.5])
    assert one.description == {
        "kind": "http",
        "model": "m",
        "version": "1",
        "options": {},
        "scores": "logits",
        "resize": None,
        "mean": [0.5],
        "std": None,
    }


def test_bytes_behind_an_answer_are_not_the_next_answer(server):
    server.script.extend([lo.twice] * 3)
    for number, reply in enumerate(ask(teacher(server), 0, 1, 2, 3)):
        np.testing.assert_array_equal(reply.signals["logits"], expected(*question(number)))


def test_cancelling_leaves_the_teacher_usable(server):
    async def run():
        async with teacher(server, max_in_flight=1) as one:
            server.script.append(lo.stalls)
            task = asyncio.create_task(one.answer(*question(1)))
            while not server.received:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await one.answer(*question(2))

    np.testing.assert_array_equal(asyncio.run(run()).signals["logits"], expected(*question(2)))


def test_the_same_teacher_in_a_second_event_loop(server):
    one = teacher(server, requests_per_minute=6000, max_in_flight=1)
    for number in (1, 2):
        (reply,) = ask(one, number)
        np.testing.assert_array_equal(reply.signals["logits"], expected(*question(number)))


def test_outside_of_its_session_it_is_not_asked(server):
    one = teacher(server)
    ask(one, 1)
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(one.answer(*question(2)))
    assert len(server.received) == 1


def test_probes_come_first_and_are_free(server):
    format = Plain(("/v2", "/v2/models"))
    server.probes.extend([status(200, b"one"), status(403, b"two")])
    ask(teacher(server, format), 1)
    assert format.checked == [("/v2", 200, b"one"), ("/v2/models", 403, b"two")]
    assert [one.path for one in server.asked] == ["/v2", "/v2/models"]
    assert len(server.received) == 1


def test_a_server_that_is_not_ready_is_waited_for(server):
    format = Plain(("/ready",))
    server.probes.extend([status(503), lo.closes_before, lo.closes_before, status(429), status(200)])
    ask(teacher(server, format), 1)
    assert [code for _, code, _ in format.checked] == [200]
    server.probes.extend([status(503)] * 1000)
    with pytest.raises(Stop, match=r"teacher.url: .*503.*not ready for 0.3 s \(teacher.patience\)"):
        ask(teacher(server, Plain(("/ready",)), patience=0.3), 2)


@pytest.mark.parametrize(
    ("behaviour", "key"),
    [
        (status(401), "teacher.api_key_env"),
        (status(404), "teacher.model"),
        (status(301), "teacher.url"),
        (lo.closes_before, "teacher.url"),
    ],
)
def test_a_probe_that_shows_that_no_call_can_succeed(server, behaviour, key):
    server.probes.extend([behaviour] * 3)  # a GET that a lost connection broke is sent once more by aiohttp itself
    with pytest.raises(Stop, match=key):
        ask(teacher(server, Plain(("/ready",))), 1)
    assert server.received == []


def test_a_format_that_fails(server):
    class Broken(Plain):
        def request(self, images, keys):
            return HttpRequest("/ask", b"", {"X-Odd": "two\nlines"}) if keys[0].startswith("00000001") else 1 / 0

    for number, words in ((1, "X-Odd"), (2, r"ZeroDivisionError: division by zero \(test_client.py, line \d+\)")):
        with pytest.raises(Stop, match=words):
            ask(teacher(server, Broken()), number)
    assert server.received == []

    class Blind(Plain):
        def read(self, body, headers, keys):
            raise IndexError("no such row")

    (reply,) = ask(teacher(server, Blind()), 3)
    assert "IndexError: no such row (test_client.py" in reply.malformed
    assert b"scores" in reply.raw


def test_limits_that_cannot_be_kept_are_refused_before_anything_is_sent():
    with pytest.raises(UserError, match=r"teacher\.max_tokens_per_call: not set"):
        teacher("http://127.0.0.1:9", tokens_per_minute=1000)
    with pytest.raises(UserError, match=r"teacher\.batch_size"):
        teacher("http://127.0.0.1:9", tokens_per_minute=1000, max_tokens_per_call=100, batch_size=11)
    assert settings("http://127.0.0.1:9", tokens_per_minute=1000, max_tokens_per_call=100, batch_size=10)


@pytest.mark.slow
@pytest.mark.parametrize("of", ["requests", "tokens"])
def test_a_stated_rate_is_kept_as_the_server_counts_it(server, of):
    """20 requests, or 250 tokens of which a request reserves 50 and uses 7, in any 3 s; refusals and probes count too."""
    rates = {"requests_per_minute": 20} if of == "requests" else {"tokens_per_minute": 250, "max_tokens_per_call": 50}
    count, bound = (44, 20) if of == "requests" else (77, 250 // 7)
    server.script.extend([status(429, headers={"Retry-After": "0"})] * 3)

    async def run():
        async with teacher(server, Plain(("/ready",)), window=3.0, **rates) as one:
            await asyncio.gather(*(one.answer(*question(number)) for number in range(count)))

    asyncio.run(run())
    times = sorted(one.at for one in [*server.asked, *server.received])
    assert len(times) == count + 4
    assert max(sum(at <= other < at + 3 for other in times) for at in times) <= bound


@pytest.mark.parametrize(
    ("asked", "said", "used"),
    [(0, 7, 7), (3, 4, 7), (None, 7, 50), (7, None, 50), (None, None, 50), (0, -(10**6), 50), (0, float("nan"), 50)],
)
def test_of_tokens_that_are_not_said_the_most_counts_against_the_limit(server, asked, said, used):
    class Says(Plain):
        def read(self, body, headers, keys):
            return replace(super().read(body, headers, keys), input_tokens=asked, output_tokens=said)

    async def run():
        async with teacher(server, Says(), tokens_per_minute=1000, max_tokens_per_call=50) as one:
            await one.answer(*question(1))
            return sum(sent.tokens for sent in one.client.limit._log)

    assert asyncio.run(run()) == used


def test_a_key_for_several_images_is_no_ground_to_ask_again():
    refused = {"idempotent": True, "batch_size": 2}
    with pytest.raises(
        UserError, match=r"teacher\.idempotent: true with teacher\.batch_size 2.*Set teacher\.batch_size: 1"
    ):
        teacher("http://127.0.0.1:9", **refused)
    keyed = Plain()
    keyed.keyed = True
    assert teacher("http://127.0.0.1:9", keyed, **refused).idempotent

"""What each fault of a server comes to: asked again, refunded, unknown or stopped; counted by the server."""

import asyncio
import re
from email.utils import formatdate

import numpy as np
import pytest
from support import loopback as lo
from support.loopback import Server, status
from support.plain import Plain, ask, expected, question, teacher

from tuition.teachers import Refused, Stop, Uncertain, backoff, waiting
from tuition.teachers.formats.bodies import json_object, status_of_error
from tuition.teachers.http import transport
from tuition.teachers.http.outcomes import retry_after


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(backoff, "LONGEST_WAIT", 0.1)


class TellsErrors(Plain):
    """A gateway's format: errors come with status 200."""

    def inner_status(self, body, headers):
        return status_of_error(json_object(body))


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(
    "behaviour", [status(429), status(503), status(425), status(429, headers={"Retry-After": "0"})]
)
def test_refused_is_asked_again_under_the_same_key(server, behaviour, idempotent):
    server.script.extend([behaviour, behaviour])
    one = teacher(server, idempotent=idempotent)
    (reply,) = ask(one, 1)
    np.testing.assert_array_equal(reply.signals["logits"], expected(*question(1)))
    key = question(1)[1][0]
    assert [sent.headers["idempotency-key"] for sent in server.received] == [key] * 3
    assert [sent.headers["x-request-id"] for sent in server.received] == [f"{key}-{attempt}" for attempt in (1, 2, 3)]
    assert server.processed == [key]
    assert one.client.seen == {"requests": 3, "refused": 2, "uncertain": 0, "retried": 2}


@pytest.mark.parametrize("idempotent", [False, True])
def test_refused_until_patience_is_over(server, idempotent):
    server.script.extend([status(429, b"slow down")] * 1000)
    with pytest.raises(Refused, match=r"429: slow down; \d+ attempts in 0.5 s \(teacher.patience\)"):
        ask(teacher(server, patience=0.5, idempotent=idempotent), 1)
    assert len(server.received) > 1
    assert server.processed == []


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_after_retry_after_nobody_asks_before_it_is_over(server, form):
    """The others wait too: they were told by the one that was refused."""
    value = "1" if form == "seconds" else formatdate(1_800_000_002, usegmt=True)
    headers = {"Retry-After": value, "Date": formatdate(1_800_000_001, usegmt=True)}
    server.script.append(status(429, headers=headers))

    async def run():
        async with teacher(server) as one:
            first = asyncio.create_task(one.answer(*question(1)))
            while not one.client.seen["refused"]:
                await asyncio.sleep(0.001)
            return await asyncio.gather(first, *(one.answer(*question(number)) for number in (2, 3)))

    assert all(reply.malformed is None for reply in asyncio.run(run()))
    assert len(server.received) == 4
    assert min(sent.at for sent in server.received[1:]) >= server.received[0].at + 1


DATES = {"Date": formatdate(1_800_000_000, usegmt=True)}
LATER, EARLIER = (formatdate(1_800_000_000 + seconds, usegmt=True) for seconds in (90, -90))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"Retry-After": LATER, **DATES}, 90),
        ({"Retry-After": EARLIER, **DATES}, 0),
        ({"Retry-After": formatdate(1, usegmt=True)}, 0),
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 99 Foo 9999999 00:00:00 GMT"}, None),
    ],
)
def test_what_retry_after_means(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_retry_after_beyond_patience_is_not_waited_for_and_said(server):
    server.script.append(status(503, headers={"Retry-After": "86400"}))
    with pytest.raises(Refused, match=r"503.*; it asks to be left alone for 86400 s; 1 attempts in 30 s"):
        ask(teacher(server, patience=30.0), 1)
    assert len(server.received) == 1


INNER = [
    (b'{"error": {"message": "busy", "code": 429}}', "answered 200 with an error 429"),
    (b'{"error": {"message": "busy", "code": "503"}}', "answered 200 with an error 503"),
]


@pytest.mark.parametrize(("body", "words"), INNER)
def test_an_error_with_status_200_counts_as_its_own_status(server, body, words):
    server.script.extend([status(200, body)] * 1000)
    with pytest.raises(Refused, match=words):
        ask(teacher(server, TellsErrors(), patience=0.3), 1)
    server.script.clear()
    server.script.extend([status(200, body)] * 2)
    (reply,) = ask(teacher(server, TellsErrors()), 1)
    np.testing.assert_array_equal(reply.signals["logits"], expected(*question(1)))
    server.script.append(status(200, b'{"error": {"code": 401}}'))
    with pytest.raises(Stop, match=r"teacher\.api_key_env"):
        ask(teacher(server, TellsErrors()), 1)
    server.script.append(status(200, b'{"error": {"code": 500}}'))
    with pytest.raises(Uncertain):
        ask(teacher(server, TellsErrors()), 1)


QUOTA = [
    b'{"error": {"message": "see your plan", "type": "insufficient_quota", "code": "insufficient_quota"}}',
    b'{"error": {"message": "see your plan", "type": "billing_not_active"}}',
    b'{"error": "insufficient_credits"}',
]


@pytest.mark.parametrize("body", QUOTA)
def test_an_account_without_money_is_not_waited_for(server, body):
    server.script.extend([status(429, body, {"Retry-After": "1"})] * 1000)
    with pytest.raises(Stop, match=r"teacher.api_key_env: the account has no quota.* no waiting mends.*429"):
        ask(teacher(server, patience=600.0), 1)
    assert len(server.received) == 1
    assert server.processed == []


def test_a_wait_says_why_and_for_how_long(server, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 0.0)
    server.script.extend([status(429, b"slow down")] * 3)
    ask(teacher(server, name="gpt"), 1)
    (line,) = capsys.readouterr().err.splitlines()  # the next one would be said half a minute later
    assert re.fullmatch(
        r"teacher 'gpt': waiting, asked again in \d+ s, given up in \d+ s \(teacher.patience\): http://127.0.0.1:\d+ answered 429: "
        "slow down",
        line,
    )


STOPS = {
    400: "teacher.options",
    401: "teacher.api_key_env",
    402: "teacher.api_key_env",
    403: "teacher.api_key_env",
    404: "teacher.url or teacher.model",
    405: "teacher.url or teacher.kind",
    413: "teacher.batch_size",
    415: "teacher.kind or teacher.format",
    422: "teacher.options",
    418: "teacher.url or teacher.kind",
    302: "teacher.url",
    308: "teacher.url",
}


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("code", STOPS)
def test_what_the_user_must_mend_stops_at_once_and_names_it(server, code, idempotent):
    server.script.append(status(code, b"why\nnot", {"Location": "http://somebody:word@elsewhere/?q=1"}))
    with pytest.raises(Stop) as stopped:
        ask(teacher(server, idempotent=idempotent), 1)
    assert STOPS[code] in str(stopped.value)
    assert f"{server.url} answered {code}: why not" in str(stopped.value)
    assert len(server.received) == 1
    assert server.processed == []
    if code in (302, 308):
        assert "to http://elsewhere/" in str(stopped.value)
        assert "word" not in str(stopped.value)


UNSURE = {
    "500": lo.fails,
    "502": status(502),
    "504": status(504),
    "599": status(599),
    "408": status(408),
    "409": status(409),
    "closes before": lo.closes_before,
    "closes after": lo.closes_after,
    "cut off": lo.cut_off,
    "no http": lo.no_http,
    "stalls": lo.stalls,
    "stalls in the body": lo.stalls_in_the_body,
}


@pytest.mark.parametrize("behaviour", UNSURE)
def test_what_may_have_been_processed_is_not_sent_again(server, behaviour):
    server.script.append(UNSURE[behaviour])
    one = teacher(server, timeout=0.5 if "stalls" in behaviour else 20.0)
    with pytest.raises(Uncertain) as raised:
        ask(one, 1)
    assert raised.value.stop is None
    assert len(server.received) == 1
    assert one.client.seen == {"requests": 1, "refused": 0, "uncertain": 1, "retried": 0}


@pytest.mark.parametrize("behaviour", UNSURE)
def test_what_may_have_been_processed_is_sent_again_under_its_key_where_that_is_free(server, behaviour):
    server.script.append(UNSURE[behaviour])
    one = teacher(server, timeout=0.5 if "stalls" in behaviour else 20.0, idempotent=True)
    (reply,) = ask(one, 1)
    np.testing.assert_array_equal(reply.signals["logits"], expected(*question(1)))
    assert {sent.headers["idempotency-key"] for sent in server.received} == set(question(1)[1])
    assert one.client.seen == {"requests": 2, "refused": 0, "uncertain": 1, "retried": 1}


def test_after_a_doubt_a_refusal_is_no_refund(server):
    server.script.extend([lo.closes_after, *[status(429)] * 1000])
    with pytest.raises(Uncertain, match=r"no whole answer.*; last: .*429"):
        ask(teacher(server, idempotent=True, patience=0.5), 1)
    assert len(server.received) > 2


def test_doubts_until_patience_is_over(server):
    server.script.extend([lo.fails] * 1000)
    with pytest.raises(Uncertain, match=r"500: a fault; \d+ attempts"):
        ask(teacher(server, idempotent=True, patience=0.3), 1)
    assert set(server.processed) == set(question(1)[1])


def test_after_a_doubt_a_stop_leaves_the_doubt(server):
    server.script.extend([lo.closes_after, status(404)])
    with pytest.raises(Uncertain) as raised:
        ask(teacher(server, idempotent=True), 1)
    assert isinstance(raised.value.stop, Stop)
    assert raised.value.__cause__ is raised.value.stop
    assert "teacher.url or teacher.model" in str(raised.value)


def test_half_of_an_answer_is_asked_for_again_under_its_key(server):
    server.script.extend([lo.half_json] * 3)
    (reply,) = ask(teacher(server, idempotent=True), 1)
    np.testing.assert_array_equal(reply.signals["logits"], expected(*question(1)))
    assert len(server.received) == 4


def test_half_of_an_answer_at_most_four_times(server):
    server.script.extend([lo.half_json] * 10)
    (reply,) = ask(teacher(server, idempotent=True), 1)
    assert reply.malformed.startswith("not JSON")
    assert reply.raw.startswith(b'{"scores": [[')
    assert len(server.received) == 4


@pytest.mark.parametrize("later", [status(404), status(429), lo.closes_after])
def test_an_answer_that_came_garbled_was_charged_whatever_comes_later(server, later):
    server.script.extend([lo.half_json, *[later] * 1000])
    (reply,) = ask(teacher(server, idempotent=True, patience=0.3), 1)
    assert reply.malformed.startswith("not JSON")


@pytest.mark.parametrize(
    "body",
    [b'{"error": "overloaded"}', b"[]", b"{", b"", '{"scores": "\ud800"'.encode("utf-8", "surrogatepass"), b"\xff"],
)
def test_a_malformed_answer_of_a_teacher_that_charges_each_time_is_kept(server, body):
    server.script.append(lo.says(body))
    (reply,) = ask(teacher(server), 1)
    assert reply.malformed
    assert reply.raw == body
    assert len(server.received) == 1


def test_a_huge_answer_is_not_read_to_its_end(server, monkeypatch):
    monkeypatch.setattr(transport, "MOST_BYTES", 4 << 20)
    server.script.append(lo.huge(64))
    first, second = ask(teacher(server), 1, 2)
    assert "longer than" in first.malformed
    assert 0 < len(first.raw) <= 1 << 16
    np.testing.assert_array_equal(second.signals["logits"], expected(*question(2)))


def test_an_error_counts_by_its_status_though_its_text_never_ends(server, monkeypatch):
    monkeypatch.setattr(transport, "SECONDS_FOR_AN_ERRORS_TEXT", 0.2)
    server.script.append(lo.stalls_in_an_error(401))
    with pytest.raises(Stop, match="401: the beginning"):
        ask(teacher(server, timeout=5.0), 1)


def test_a_server_that_goes_away_is_waited_for_and_found_again():
    async def run(port: int, back: bool):
        first = Server(port=port)
        first.__enter__()
        async with teacher(first, patience=20.0 if back else 0.5) as one:
            await one.answer(*question(1))
            await asyncio.to_thread(first.__exit__)
            waiting = asyncio.create_task(one.answer(*question(2)))
            while not one.client.seen["refused"]:
                await asyncio.sleep(0.01)
            if not back:
                return await waiting
            with Server(port=first.port) as second:
                reply = await waiting
                return reply, len(second.received)

    reply, received = asyncio.run(run(0, True))
    assert reply.malformed is None
    assert received == 1
    with pytest.raises(Refused, match="cannot be reached"):
        asyncio.run(run(0, False))

"""Buying over HTTP: what the server worked on, what is owned of it, what is counted, for every way in which a request can end."""

import sqlite3
import threading
import time

import pytest
from support import loopback as lo
from support.loopback import Server, says, status
from support.plain import Plain
from support.purchases import Shop

from tuition.errors import UserError
from tuition.ledger import accounts, calls, schema
from tuition.purchase import others, reserver
from tuition.teachers import backoff

NAN = b'{"scores": [[NaN, 1, 1, 1, 1, 1, 1, 1, 1, 1]], "tokens": 7}'


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(backoff, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(others, "POLL_SECONDS", 0.02)


@pytest.mark.parametrize(("in_flight", "batch_size"), [(1, 1), (8, 1), (4, 3), (64, 256)])
def test_everything_is_owned_once(server, in_flight, batch_size):
    server.script.extend([lo.slowly(0.01)] * 1000)
    shop = Shop(server, 100, max_in_flight=in_flight, batch_size=batch_size, price=0.01)
    assert shop.buy() == 100
    assert shop.owned() == shop.requests
    assert shop.status["cost"] == 1.0
    assert server.most_under_way <= in_flight
    shop.check()
    requests = len(server.received)
    assert shop.buy() == 0
    assert len(server.received) == requests


def test_in_flight_reaches_max_in_flight_and_never_goes_beyond(server):
    server.script.extend([lo.slowly(0.03)] * 200)
    shop = Shop(server, 150, max_in_flight=5)
    shop.buy()
    assert server.most_under_way == 5
    assert server.connections == 5


def test_nothing_is_asked_where_nothing_is_to_be_bought():
    """The server is gone: what is owned needs it no more."""
    with Server() as server:
        shop = Shop(server, 20, format=Plain(("/ready",)))
        shop.buy()
        url = server.url
    again = Shop(url, 20, format=Plain(("/ready",)))
    assert again.buy() == 0
    assert again.owned() == again.requests


def test_the_first_calls_are_checked_before_the_bulk_is_sent(server):
    server.script.extend([lo.well] * 3 + [says(NAN)])
    shop = Shop(server, 100, max_in_flight=32, canary=6)
    with pytest.raises(
        UserError, match=r"1 of \d answers cannot be used .sample [0-9a-f]{16}: NaN or infinity in logits"
    ):
        shop.buy()
    assert len(server.received) == 6
    assert shop.calls == {"done": 6}
    assert len(shop.owned()) == 5
    shop.check()


def test_refused_for_longer_than_patience_is_refunded_and_said(server):
    server.script.extend([lo.well] * 10 + [status(429, b"slow down")] * 10_000)
    shop = Shop(server, 40, patience=0.3, max_in_flight=4, price=1.0)
    with pytest.raises(UserError, match=r"'teacher' refused for 0.3 s .*429: slow down.*Run again later"):
        shop.buy()
    assert len(server.processed) == 10
    assert len(shop.owned()) == 10
    assert shop.calls["done"] == 10
    assert shop.spent() == (10, 70, 10_000_000)
    assert set(shop.states().values()) == {"owned"}
    shop.check()
    server.script.clear()
    assert shop.buy() == 30


@pytest.mark.usefixtures("new_place")
def test_uncertain_counts_as_spent_and_the_rest_goes_on(server):
    server.script.extend([lo.well] * 20 + [lo.closes_after] * 2)
    shop = Shop(server, 200, price=0.5, max_malformed=0.02)
    shop.buy()
    assert shop.calls == {"done": 198, "unknown": 2}
    assert len(shop.owned()) == 198
    assert len(server.processed) == len(set(server.processed)) == 200
    assert shop.spent() == (200, 198 * 7, 100_000_000)
    assert shop.status["held"]["cost"] == 1.0
    shop.check()
    assert shop.buy() == 0  # never sent again by itself
    assert accounts.resolve(shop.ledger, shop.account.id, False, 0.0) == 2
    assert shop.buy() == 2
    assert shop.owned() == shop.requests
    shop.check()


def test_too_many_uncertain_stop_the_rest(server):
    server.script.extend([lo.well] * 20 + [lo.closes_after] * 1000)
    shop = Shop(server, 200, max_in_flight=4, max_unknown=0.02)
    with pytest.raises(UserError, match=r"calls brought no answer .*tuition ledger unknown"):
        shop.buy()
    assert 5 <= shop.calls["unknown"] <= 8  # those that were under way at the fifth
    assert len(shop.owned()) == shop.calls["done"] == 20
    shop.check()


@pytest.mark.usefixtures("new_place")
def test_idempotent_is_sent_again_under_the_same_key(server):
    server.script.extend([lo.well] * 10 + [lo.closes_after, lo.fails, lo.half_json, lo.cut_off])
    shop = Shop(server, 60, idempotent=True, price=1.0)
    assert shop.buy() == 60
    assert shop.owned() == shop.requests
    assert shop.spent() == (60, 420, 60_000_000)
    assert len(server.processed) == 64
    assert len(set(server.processed)) == 60
    shop.check()


@pytest.mark.usefixtures("new_place")
def test_idempotent_and_uncertain_for_longer_than_patience_is_asked_again_by_the_next_run(server):
    server.script.extend([lo.well] * 12 + [lo.fails] * 10_000)
    shop = Shop(server, 40, idempotent=True, patience=0.2, max_in_flight=4, price=1.0)
    with pytest.raises(UserError, match="calls brought no answer"):
        shop.buy()
    lost = shop.calls["unknown"]
    assert lost >= 1
    shop.check()
    server.script.clear()
    again = Shop(server, 40, idempotent=True, price=1.0)
    assert again.buy() == 40 - 12 - lost  # the lost ones are no new calls
    assert again.owned() == again.requests
    assert again.spent() == (40, 280, 40_000_000)
    assert len(set(server.processed)) == 40
    again.check()


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("good", [0, 20])
def test_stop_is_told_at_once_and_nothing_is_charged(server, idempotent, good):
    server.script.extend([lo.well] * good + [status(401, b"no such key")] * 1000)
    shop = Shop(server, 100, max_in_flight=4, idempotent=idempotent, price=1.0)
    with pytest.raises(UserError, match=r"teacher.api_key_env.*401: no such key"):
        shop.buy()
    assert len(server.received) <= good + 4
    assert len(shop.owned()) == good
    assert shop.spent() == (good, 7 * good, good * 1_000_000)
    assert shop.calls.get("unknown") is None
    shop.check()


def test_a_ledger_that_is_locked_for_seconds_while_answers_are_in_hand(server, monkeypatch, capsys):
    """Held in the process until the ledger can be written, and then owned."""
    monkeypatch.setattr("tuition.ledger.database.BUSY_SECONDS", 0.2)
    monkeypatch.setattr("tuition.purchase.writer.HOLD_PAUSE", 0.2)
    answered, locked = threading.Event(), threading.Event()

    async def when_locked(server, request, writer):
        answered.set()
        while not locked.is_set():
            await lo.asyncio.sleep(0.01)
        await lo.well(server, request, writer)

    server.script.extend([lo.well] * 8 + [when_locked] * 4)
    shop = Shop(server, 12, max_in_flight=4, price=1.0)

    def lock() -> None:
        answered.wait(30)
        time.sleep(0.3)  # all four are under way
        held = sqlite3.connect(shop.ledger.place, isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(1.5)
        held.execute("ROLLBACK")
        held.close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert shop.buy() == 12
    thread.join()
    assert "Holding" in capsys.readouterr().out
    assert shop.owned() == shop.requests
    shop.check()


def test_an_error_in_the_middle_waits_for_what_is_under_way(server, monkeypatch):
    """The ledger's folder cannot be read any more: answers on their way are owned all the same, and nobody holds a call."""
    # More are reserved when half of those that were reserved together have left: some of them are under way then.
    server.script.extend([lo.well] * 9 + [lo.slowly(1.0)] * 3 + [lo.well] * 100)
    shop = Shop(server, 60, max_in_flight=4)
    asked = []

    def fails(ledger, payload):
        asked.append(payload)
        if len(asked) > 3:  # the first call alone, the rest of the canary, and the first of the bulk
            raise OSError("gone")

    monkeypatch.setattr(reserver, "check_room", fails)
    with pytest.raises(OSError, match="gone"):
        shop.buy()
    assert 12 <= len(shop.owned()) == len(server.processed) <= 16
    shop.check()


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_fast_teacher_does_not_wait_for_the_ledger_and_never_has_more_than_it_may(server, monkeypatch, idempotent):
    """Marked as sent ahead where that is slow beside an answer, but only where being killed then costs nothing."""
    marked, unanswered = [], []

    def slow(ledger, run, made):
        time.sleep(0.02)
        real(ledger, run, made)
        marked.extend(made)
        unanswered.append(len(marked) - len(server.processed))

    real = calls.mark_sent
    monkeypatch.setattr(calls, "mark_sent", slow)
    shop = Shop(server, 120, max_in_flight=4, canary=1, idempotent=idempotent)
    assert shop.buy() == 120
    assert server.most_under_way <= 4
    assert (max(unanswered) > 4) == idempotent
    assert shop.owned() == shop.requests
    shop.check()


def test_another_process_took_this_one_for_dead(server):
    """Its reserved calls are then the other's to buy: they are not sent from here."""

    async def taken(server, request, writer):
        with shop.ledger.write() as db:
            db.execute(schema.runs.update().values(host="elsewhere", heartbeat=0.0))
        calls.settle(shop.ledger, shop.account.id)
        await lo.well(server, request, writer)

    server.script.extend([lo.well] * 8 + [taken])
    shop = Shop(server, 40, max_in_flight=1)
    with pytest.raises(UserError, match="no longer this run's"):
        shop.buy()
    assert len(server.processed) == 9
    assert len(shop.owned()) == 9  # an answer that comes late is an answer
    assert shop.status["calls"]["reserved"] == 0
    assert accounts.verify(shop.ledger) == []


def test_a_heartbeat_outlives_a_locked_ledger(server, monkeypatch):
    monkeypatch.setattr("tuition.purchase.writer.BEAT_SECONDS", 0.05)
    beats = []

    def beat(ledger, run, now):
        beats.append(now)
        if len(beats) == 1:
            raise calls.UserError("locked")

    monkeypatch.setattr(calls, "beat", beat)
    server.script.extend([lo.slowly(0.5)] * 2)
    Shop(server, 2).buy()
    assert len(beats) > 2


@pytest.mark.postgres
def test_answers_in_hand_outlive_a_restart_of_the_ledgers_server(server, postgresql, monkeypatch):
    monkeypatch.setattr("tuition.purchase.writer.HOLD_PAUSE", 0.2)
    place = postgresql.new_database()
    monkeypatch.setenv("TUITION_LEDGER", place)
    asked, away = threading.Event(), threading.Event()

    async def while_it_is_away(server, request, writer):
        asked.set()
        while not away.is_set():
            await lo.asyncio.sleep(0.01)
        await lo.well(server, request, writer)

    server.script.extend([lo.well] * 10 + [while_it_is_away] * 3)
    shop = Shop(server, 13, max_in_flight=8, canary=5, price=1.0)
    buyer = threading.Thread(target=shop.buy)
    buyer.start()
    assert asked.wait(30)
    time.sleep(0.3)
    postgresql.stop()
    away.set()
    time.sleep(0.5)
    postgresql.start()
    buyer.join(60)
    assert shop.owned() == shop.requests
    assert len(server.processed) == 13
    shop.check()
    shop.ledger.close()
    postgresql.drop(place)

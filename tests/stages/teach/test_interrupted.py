"""A purchase that is broken off at any moment: what was answered is owned, what may be charged is counted, and nothing is held."""

import os
import signal
import threading
import time

import pytest
from support import loopback as lo
from support.loopback import Server
from support.plain import Plain
from support.purchases import Shop, process

from tuition.errors import UserError
from tuition.ledger import calls, owned
from tuition.ledger.database import LedgerWaits
from tuition.purchase import loop, others, writer
from tuition.teachers import backoff

LEFT = {
    "done": 10,
    "unknown": 2,
    "refunded": 12,
}  # of eight good ones, two slow ones, two that stall, and twelve that never left


@pytest.fixture
def server():
    with Server() as one:
        yield one


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(others, "POLL_SECONDS", 0.02)


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(one) -> tuple[int, str]:
    """(exit status, what it said on stderr) of a process, when it has ended; that a busy machine was slow is nothing said."""
    try:
        status, said = one.wait(60), one.communicate()[1]
        return status, "".join(line for line in said.splitlines(True) if not line.startswith("Executing <"))
    finally:
        one.kill()
        one.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_wait_for_answers_that_are_on_their_way(server, number, code):
    server.script.extend([lo.well] * 8 + [lo.slowly(1.0)] * 2 + [lo.stalls] * 2)
    buyer = process(server, grace=3, count=40, max_in_flight=4, price=1.0)
    until(lambda: len(server.received) == 12)
    buyer.send_signal(number)
    status, said = ended(buyer)
    assert status == code
    assert "test: interrupted; 10 answers came and are owned, 2 calls are unknown and count as spent" in said
    assert "28 were never sent and cost nothing. Run again to go on" in said
    shop = Shop(server, 40, price=1.0)
    assert shop.calls == LEFT
    assert len(shop.owned()) == 10
    assert len(server.received) == 12
    assert shop.spent() == (12, 70, 12_000_000)
    shop.check()


def test_a_second_ctrl_c_waits_no_more(server):
    server.script.extend([lo.well] * 10 + [lo.stalls] * 2)
    buyer = process(server, grace=600, count=40, max_in_flight=4, idempotent=True)
    until(lambda: len(server.received) >= 14)  # those behind the stalled ones are answered
    buyer.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert buyer.poll() is None
    buyer.send_signal(signal.SIGINT)
    status, said = ended(buyer)
    assert status == 130
    assert "2 calls are unknown" in said
    shop = Shop(server, 40, idempotent=True)
    assert shop.status["calls"]["reserved"] == 0
    assert shop.calls["unknown"] == 2
    shop.check()
    server.script.clear()
    shop.buy()
    assert shop.owned() == shop.requests
    shop.check()


@pytest.mark.parametrize("idempotent", [False, True])
def test_kill_9_and_a_new_process(server, idempotent):
    server.script.extend([lo.well] * 8 + [lo.stalls] * 4)
    buyer = process(server, count=40, max_in_flight=4, idempotent=idempotent, price=1.0)
    until(lambda: len(server.processed) == 12)
    time.sleep(0.3)
    buyer.kill()
    assert ended(buyer)[0] == -signal.SIGKILL
    server.script.clear()
    again = process(server, count=40, max_in_flight=4, idempotent=idempotent, price=1.0)
    assert ended(again) == (0, "")
    shop = Shop(server, 40, idempotent=idempotent, price=1.0)
    assert len(set(server.processed)) == 40
    if idempotent:
        assert len(server.processed) == 44  # the same four keys once more
        assert shop.owned() == shop.requests
    else:
        assert len(server.processed) == 40
        assert shop.calls == {"done": 36, "unknown": 4, "refunded": 12}
    assert shop.spent()[2] == 40_000_000
    shop.check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [signal.SIGKILL, *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGTERM))]
)
def test_broken_off_at_random_again_and_again(server, how):
    server.script.extend([lo.slowly(0.02)] * 10_000)
    settings = {"count": 400, "max_in_flight": 8, "idempotent": True, "price": 0.5}
    shop = Shop(server, **settings)
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4, 0.03):
        before = len(server.received)
        buyer = process(server, **settings)
        until(lambda buyer=buyer, before=before: len(server.received) > before or buyer.poll() is not None)
        time.sleep(delay)
        buyer.send_signal(how)
        status, said = ended(buyer)
        assert status in (-9, 130, 143, 0)
        assert not said or said.startswith("test: interrupted; ")
    shop.buy()
    assert shop.owned() == shop.requests
    assert len(set(server.processed)) == 400
    assert shop.spent() == (400, 2800, 200_000_000)
    shop.check()


@pytest.mark.usefixtures("new_place")
def test_two_processes_divide_the_work_and_pay_once(server):
    server.script.extend([lo.slowly(0.02)] * 1000)
    both = [process(server, count=120, max_in_flight=4, price=0.01) for _ in range(2)]
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum(int(out.split(" new calls")[0].splitlines()[-1]) for out, _ in said) == 120
    assert len(server.processed) == len(set(server.processed)) == 120
    shop = Shop(server, 120)
    assert shop.owned() == shop.requests
    shop.check()


@pytest.mark.parametrize("idempotent", [False, True])
def test_who_waits_for_a_process_that_dies_takes_over(server, idempotent):
    server.script.extend([lo.well] * 8 + [lo.stalls] * 4)
    first = process(server, count=16, max_in_flight=4, idempotent=idempotent)
    until(lambda: len(server.processed) == 12)
    second = process(server, count=16, max_in_flight=4, idempotent=idempotent)
    assert f"waiting for 8 samples that are being bought by process {first.pid} on " in second.stdout.readline()
    server.script.clear()
    first.kill()
    first.communicate()
    assert ended(second) == (0, "")
    shop = Shop(server, 16)
    assert shop.calls.get("unknown", 0) == (0 if idempotent else 4)
    assert len(shop.owned()) == (16 if idempotent else 12)
    shop.check()


def test_ctrl_c_while_the_server_is_not_ready_yet(server):
    server.probes.extend([lo.status(503)] * 1000)
    shop = Shop(server, 20, format=Plain(("/ready",)))
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        shop.buy()
    assert (server.received, shop.calls) == ([], {})


def again_and_again(shop: Shop) -> None:
    for _ in range(10):
        shop.buy()


STEPS = ["standing", "reserve", "mark_sent", "finish", "refund", "abandon"]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("turn", [0, 2])
@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_in_the_middle_of_every_step(server, monkeypatch, step, turn, times):
    """Comes once or more while the ledger is asked or written: never swallowed, and no call stays held by this process, which lives on."""
    monkeypatch.setattr(loop, "GRACE_SECONDS", 0.5)
    place = owned if step == "standing" else calls
    real, came = getattr(place, step), []

    def interrupted(*args, **options):
        came.append(step)
        if len(came) == turn + 1:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
        return real(*args, **options)

    faults = {"refund": lo.status(429), "abandon": lo.closes_after}
    server.script.extend(([lo.well] * 3 + [faults.get(step, lo.well)]) * 100)
    shop = Shop(server, 60, max_in_flight=4, max_malformed=0.9, canary=1, patience=0.01, idempotent=turn > 0)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(place, step, interrupted)
    expected = (KeyboardInterrupt, UserError) if step == "refund" else KeyboardInterrupt
    with pytest.raises(expected):
        again_and_again(shop)
    monkeypatch.setattr(place, step, real)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    shop.check()
    processed = len(set(server.processed))
    assert len(shop.owned()) + shop.calls.get("unknown", 0) >= processed
    server.script.clear()
    shop.buy()
    shop.check()
    assert len(shop.owned()) + shop.calls.get("unknown", 0) == 60


def test_a_purchase_outside_of_the_main_thread(server):
    shop = Shop(server, 30)
    thread = threading.Thread(target=shop.buy)
    thread.start()
    thread.join(60)
    assert shop.owned() == shop.requests


def test_an_answer_in_hand_outlives_ctrl_c_while_the_ledger_is_locked(server, monkeypatch):
    """It is held, whatever the user does, until it is written."""
    monkeypatch.setattr(writer, "HOLD_PAUSE", 0.1)
    monkeypatch.setattr(loop, "GRACE_SECONDS", 0.2)
    finish, tries = calls.finish, []

    def locked(*args):
        tries.append(args)
        if len(tries) == 2:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        if 2 <= len(tries) < 12:
            raise LedgerWaits("locked")
        finish(*args)

    monkeypatch.setattr(calls, "finish", locked)
    shop = Shop(server, 60, max_in_flight=4, canary=1)
    with pytest.raises(KeyboardInterrupt):
        shop.buy()
    assert len(tries) >= 12
    assert len(shop.owned()) == len(server.processed) > 1
    shop.check()

"""The life of a call, the caps, and what happens when a process dies."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.answers import at_cost

from tuition.ledger import accounts, calls, owned
from tuition.ledger.calls import Answer, CapReached
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.schema import parts
from tuition.ledger.spending import Bound, Caps

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(200)]
REQUESTS = [Request(id) for id in IDS]
DESCRIPTION = {"kind": "test"}
FINGERPRINT = "ab" * 32


def account(ledger, cap=None):
    return accounts.open_account(ledger, FINGERPRINT, "teacher", DESCRIPTION, Caps(Bound(calls=cap)))


def answers(made):
    return [Answer({"logits": np.full(10, int(call.request.sample, 16), np.float32)}) for call in made]


def states(ledger):
    return accounts.status(ledger)[0]["calls"]


@pytest.fixture
def ledger(new_place):
    opened = open_ledger()
    yield opened
    assert accounts.verify(opened) == []
    opened.close()


def test_a_call_is_bought_once_and_read_back(ledger):
    id = account(ledger)
    run = calls.start_run(ledger, id, 10)
    made = calls.reserve(ledger, run, REQUESTS[:10])
    assert [call.request.sample for call in made] == IDS[:10]
    assert states(ledger)["reserved"] == 10
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, at_cost(answers(made), 0.0015))
    assert states(ledger) == {"done": 10, "refunded": 0, "unknown": 0, "reserved": 0}
    assert accounts.status(ledger)[0]["cost"] == 0.015
    assert calls.reserve(ledger, run, REQUESTS[:10]) == []
    places, signals, costs = owned.read(ledger, id, list(reversed(REQUESTS[:12])))
    assert places.tolist() == list(range(2, 12))
    assert signals["logits"][:, 0].tolist() == list(range(9, -1, -1))
    assert costs.tolist() == [1500] * 10


def test_run_budget_and_lifetime_cap_hold_and_reserve_nothing_beyond(ledger):
    id = account(ledger, cap=6)
    run = calls.start_run(ledger, id, 4)
    calls.reserve(ledger, run, REQUESTS[:4])
    with pytest.raises(CapReached, match=r"teacher\.cap\.run: 4 calls spent of 4"):
        calls.reserve(ledger, run, REQUESTS[4:5])
    other = calls.start_run(ledger, id, 100)
    with pytest.raises(CapReached, match=r"teacher\.cap.*4 calls spent of 6"):
        calls.reserve(ledger, other, REQUESTS[4:7])
    assert len(calls.reserve(ledger, other, REQUESTS[4:6])) == 2
    assert states(ledger)["reserved"] == 6


def test_refund_frees_the_caps_and_the_sample(ledger):
    id = account(ledger, cap=2)
    run = calls.start_run(ledger, id, 2)
    made = calls.reserve(ledger, run, REQUESTS[:2])
    calls.mark_sent(ledger, run, made)
    calls.refund(ledger, run, made, "429")
    again = calls.reserve(ledger, run, REQUESTS[:2])
    assert [call.key for call in again] == [call.key for call in made]
    assert states(ledger) == {"done": 0, "refunded": 2, "unknown": 0, "reserved": 2}


def test_a_malformed_answer_is_charged_and_never_used(ledger):
    id = account(ledger)
    run = calls.start_run(ledger, id, 2)
    made = calls.reserve(ledger, run, REQUESTS[:2])
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, at_cost([answers(made)[0], Answer({}, "NaN", b"raw")], 1))
    assert owned.standing(ledger, id, REQUESTS[:3]).states(REQUESTS[:3]) == {
        REQUESTS[0]: "owned",
        REQUESTS[1]: "unusable",
    }
    assert accounts.status(ledger)[0] | {"cost": 2.0, "samples": 1} == accounts.status(ledger)[0]
    assert calls.reserve(ledger, run, REQUESTS[:2]) == []
    assert owned.read(ledger, id, REQUESTS[:2])[0].tolist() == [0]


def test_a_damaged_output_is_found_by_its_checksum(ledger):
    id = account(ledger)
    run = calls.start_run(ledger, id, 1)
    made = calls.reserve(ledger, run, REQUESTS[:1])
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, at_cost(answers(made), 0))
    with ledger.write() as db:
        db.execute(parts.update().values(payload=os.urandom(40)))
    with pytest.raises(Exception, match=r"logits.*damaged"):
        owned.read(ledger, id, REQUESTS[:1])
    assert "1 outputs do not match" in accounts.verify(ledger)[0]
    with ledger.write() as db:  # the fixture audits the books once more
        db.execute(parts.update().values(payload=bytes(40)))


DIES = textwrap.dedent(
    """
    import os, signal, sys
    from tuition.ledger import accounts, calls
    from tuition.ledger.database import open_ledger
    from tuition.ledger.keys import Request
    ledger = open_ledger()
    id = accounts.open_account(ledger, "ab" * 32, "teacher", {"kind": "test"}, None)
    run = calls.start_run(ledger, id, 20)
    made = calls.reserve(ledger, run, [Request(f"{i:064x}") for i in range(10)])
    calls.mark_sent(ledger, run, made[:6])
    print("ready", flush=True)
    if sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
    """
)


def test_calls_of_a_killed_process_sent_are_unknown_unsent_are_refunded(ledger):
    id = account(ledger)
    died = subprocess.run([sys.executable, "-c", DIES, "die"], capture_output=True, timeout=60)
    assert died.returncode == -signal.SIGKILL
    run = calls.start_run(ledger, id, 20)
    assert states(ledger) == {"done": 0, "refunded": 4, "unknown": 6, "reserved": 0}
    assert [call.request.sample for call in calls.reserve(ledger, run, REQUESTS[:10])] == IDS[6:10]
    assert len(accounts.listed(ledger, id, ["unknown"])) == 6


def test_calls_of_a_living_process_are_left_alone(ledger):
    id = account(ledger)
    alive = subprocess.Popen([sys.executable, "-c", DIES, "live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert alive.stdout is not None
        assert alive.stdout.readline() == b"ready\n"
        os.kill(alive.pid, signal.SIGSTOP)  # stopped is not dead
        run = calls.start_run(ledger, id, 20)
        assert calls.reserve(ledger, run, REQUESTS[:10]) == []
        assert states(ledger)["reserved"] == 10
    finally:
        alive.kill()
        alive.communicate()
    calls.settle(ledger, id)
    assert states(ledger)["unknown"] == 6


def test_an_unknown_call_is_sent_again_as_the_same_call_where_that_is_free(ledger):
    id = account(ledger, cap=10)
    subprocess.run([sys.executable, "-c", DIES, "die"], capture_output=True, timeout=60)
    run = calls.start_run(ledger, id, 10)
    lost = {call["key"] for call in accounts.listed(ledger, id, ["unknown"])}
    made = calls.reserve(ledger, run, REQUESTS[:10], resend=True)
    assert [call.request.sample for call in made] == IDS[:10]
    assert lost == {call.key for call in made[:6]}
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, at_cost(answers(made), 0))
    assert states(ledger)["done"] == 10


@pytest.mark.parametrize(("charged", "state"), [(True, "unusable"), (False, None)])
def test_resolve(ledger, charged, state):
    id = account(ledger)
    subprocess.run([sys.executable, "-c", DIES, "die"], capture_output=True, timeout=60)
    calls.settle(ledger, id)
    assert accounts.resolve(ledger, id, charged, cost=0.5) == 6
    assert owned.standing(ledger, id, REQUESTS[:1]).state(REQUESTS[0]) == state
    assert accounts.status(ledger)[0]["cost"] == (3.0 if charged else 0.0)


BUYER = textwrap.dedent(
    """
    import random, sys, time
    import numpy as np
    from tuition.ledger import accounts, calls
    from tuition.ledger.calls import Answer, CapReached
    from tuition.ledger.database import open_ledger
    from tuition.ledger.keys import Request
    from tuition.ledger.spending import Bound, Caps
    ledger = open_ledger()
    id = accounts.open_account(ledger, "ab" * 32, "teacher", {"kind": "test"}, Caps(Bound(calls=50)))
    run = calls.start_run(ledger, id, 1000)
    requests = [Request(f"{i:064x}") for i in range(200)]
    random.Random(int(sys.argv[1])).shuffle(requests)
    for start in range(0, 200, 3):
        try:
            made = calls.reserve(ledger, run, requests[start : start + 3])
        except CapReached:
            continue
        calls.mark_sent(ledger, run, made)
        with open(sys.argv[2], "a") as bill:
            bill.writelines(call.request.sample + "\\n" for call in made)
        calls.finish(ledger, run, made, [Answer({"logits": np.ones(2, np.float32)})] * len(made))
    """
)


def test_many_processes_never_exceed_the_cap_nor_buy_twice(new_place, tmp_path):
    """Six processes, none of which made the ledger first, want 200 samples each under a cap of 50."""
    place = new_place()
    bill = tmp_path / "bill"
    environment = {**os.environ, "TUITION_LEDGER": place}
    buyers = [
        subprocess.Popen([sys.executable, "-c", BUYER, str(i), str(bill)], env=environment, stderr=subprocess.PIPE)
        for i in range(6)
    ]
    for buyer in buyers:
        assert buyer.communicate(timeout=120)[1] == b""
    received = bill.read_text().split()
    assert len(received) == len(set(received))
    assert 48 <= len(received) <= 50  # batches of three: the last two may not fit
    opened = open_ledger(place)
    assert accounts.status(opened)[0]["calls"]["done"] == len(received)
    assert accounts.verify(opened) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("rsfxuRC"), st.integers(0, 5)), max_size=30))
def test_the_books_are_right_after_any_sequence(new_place, steps):
    """Random sequences of reserve, send, finish, refund, abandon and resolve: the counters equal the calls at every commit."""
    opened = open_ledger(new_place())
    id = account(opened, cap=8)
    run = calls.start_run(opened, id, 1000)
    reserved, sent = [], []
    for step, n in steps:
        if step == "r":
            try:
                reserved += calls.reserve(opened, run, REQUESTS[n : n + 4], resend=bool(n % 2))
            except CapReached:
                assert states(opened)["reserved"] + states(opened)["done"] + states(opened)["unknown"] > 4
        elif step == "s":
            calls.mark_sent(opened, run, reserved)
            sent, reserved = sent + reserved, []
        elif step == "f":
            calls.finish(opened, run, sent, at_cost(answers(sent), 1))
            sent = []
        elif step == "x":
            calls.refund(opened, run, reserved + sent, "test")
            reserved, sent = [], []
        elif step == "u":
            calls.abandon(opened, run, sent, "test")
            sent = []
        else:
            accounts.resolve(opened, id, step == "C", 1)
        found = states(opened)
        assert found["reserved"] + found["done"] + found["unknown"] <= 8
        assert accounts.verify(opened) == []
    opened.close()


def test_a_refused_resend_stays_unknown_since_its_first_sending_may_be_charged(ledger):
    id = account(ledger, cap=10)
    subprocess.run([sys.executable, "-c", DIES, "die"], capture_output=True, timeout=60)
    run = calls.start_run(ledger, id, 10)
    made = calls.reserve(ledger, run, REQUESTS[:10], resend=True)
    calls.mark_sent(ledger, run, made)
    calls.refund(ledger, run, made, "429")
    assert states(ledger) == {"done": 0, "refunded": 8, "unknown": 6, "reserved": 0}


def test_an_answer_to_a_call_that_another_process_took_over_and_finished_changes_nothing(ledger):
    id = account(ledger)
    first, second = calls.start_run(ledger, id, 5), calls.start_run(ledger, id, 5)
    made = calls.reserve(ledger, first, REQUESTS[:5])
    calls.mark_sent(ledger, first, made)
    calls.abandon(ledger, first, made, "taken for dead")
    again = calls.reserve(ledger, second, REQUESTS[:5], resend=True)
    calls.mark_sent(ledger, second, again)
    calls.finish(ledger, first, made, at_cost(answers(made), 1))  # late, but an answer
    calls.finish(ledger, second, again, at_cost(answers(again), 1))
    assert states(ledger)["done"] == 5
    assert accounts.status(ledger)[0]["cost"] == 5.0


def test_a_run_keeps_its_own_cap_when_another_opens_the_account_without_one(ledger):
    id = account(ledger, cap=6)
    run = calls.start_run(ledger, id, 100)
    account(ledger, cap=None)
    with pytest.raises(CapReached, match="of 6"):
        calls.reserve(ledger, run, REQUESTS[:7], caps=Caps(Bound(calls=6)))

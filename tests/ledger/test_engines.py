"""What the ledger promises whatever its engine: one writer at a time, readers who wait for nobody, caps to the call."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import sqlalchemy as sa
from support.answers import at_cost

from tuition.ledger import accounts, calls, database, migrations, postgres, processes, schema
from tuition.ledger.database import LedgerError, LedgerWaits, open_ledger
from tuition.ledger.keys import Request

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(20)]
REQUESTS = [Request(id) for id in IDS]


@pytest.fixture
def ledger(new_place):
    opened = open_ledger()
    yield opened
    opened.close()


def account(ledger, name="t"):
    return accounts.open_account(ledger, "cd" * 32, name, {}, None)


def together(program, *arguments, n=8):
    """Run `program` in `n` processes at once, the i-th with argument i first; none may fail. Returns what they printed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(i), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(n)
    ]
    try:
        for process in processes:  # all of them have imported what they need: now
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [error for _, error in said] == [""] * n
    return [out for out, _ in said]


OPENS = textwrap.dedent(
    """
    import sys
    from tuition.ledger import accounts
    from tuition.ledger.database import open_ledger
    print("ready", flush=True)
    sys.stdin.readline()
    print(accounts.open_account(open_ledger(), "cd" * 32, "t", {}, None))
    """
)


def test_eight_processes_open_a_new_ledger_and_an_account_at_once(new_place):
    assert together(OPENS) == ["1\n"] * 8
    opened = open_ledger()
    with opened.read() as db:
        assert db.scalars(sa.select(schema.version.c.version)).all() == [migrations.NEWEST]
        assert db.scalar(sa.select(sa.func.count()).select_from(schema.teachers)) == 1


BUYER = textwrap.dedent(
    """
    import os, random, sys, time
    import numpy as np
    from tuition.ledger import accounts, calls
    from tuition.ledger.calls import Answer
    from tuition.ledger.database import open_ledger
    from tuition.ledger.keys import Request
    from tuition.ledger.spending import Bound, CapReached, Caps
    seed, unit, limit, path = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    print("ready", flush=True)
    sys.stdin.readline()
    ledger = open_ledger()
    caps = Caps(life=Bound(**{unit: limit}))
    run = calls.start_run(ledger, accounts.open_account(ledger, "cd" * 32, "t", {}, caps), 10_000)
    requests = [Request(f"{i:064x}") for i in range(900)]
    random.Random(seed).shuffle(requests)
    bill = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while requests:
        try:  # reserved at the most that a call may cost, though all but one in ten cost half of it
            made = calls.reserve(ledger, run, requests[:7], cost=500_000, tokens=20, partial=True)
        except CapReached as full:
            if not full.waits:
                break
            time.sleep(0.01)
            continue
        if not made:  # all seven are bought, or being bought
            requests = requests[7:]
        else:
            calls.mark_sent(ledger, run, made)
            os.write(bill, "".join(call.request.sample + "\\n" for call in made).encode())
            costs = [500_000 if int(call.request.sample, 16) % 10 == 0 else 250_000 for call in made]
            answers = [Answer({"logits": np.ones(2, np.float32)}, tokens=cost // 25_000, cost=cost) for cost in costs]
            calls.finish(ledger, run, made, answers)
    """
)


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "limit"), [("calls", 300), ("cost", 75_000_000), ("tokens", 3_000)])
def test_eight_processes_together_keep_a_cap_and_use_it_up(new_place, tmp_path, unit, limit):
    """Each wants all of 900 samples, in an order of its own: the provider's bill is at the cap, and never above it."""
    bill = tmp_path / "bill"
    together(BUYER, unit, limit, bill)
    received = bill.read_text().split()
    assert len(received) == len(set(received))
    opened = open_ledger()
    found = accounts.status(opened)[0]
    assert found["calls"] == {"done": len(received), "refunded": 0, "unknown": 0, "reserved": 0}
    cost = sum(500_000 if int(one, 16) % 10 == 0 else 250_000 for one in received)
    assert (found["cost"], found["tokens"]) == (cost / 1e6, cost // 25_000)
    came_to, most = {"calls": (len(received), 1), "cost": (cost, 500_000), "tokens": (cost // 25_000, 20)}[unit]
    assert limit - most < came_to <= limit  # not even one call more would surely have fitted
    assert accounts.verify(opened) == []


def test_a_reader_sees_one_moment_and_neither_waits_nor_is_waited_for(ledger):
    account(ledger)
    names = sa.select(schema.teachers.c.name)
    with ledger.read() as reader:
        assert reader.scalar(names) == "t"
        with ledger.write() as writer:
            writer.execute(schema.teachers.update().values(name="changed"))
            assert reader.scalar(names) == "t"
        assert reader.scalar(names) == "t"
    with ledger.read() as reader:
        assert reader.scalar(names) == "changed"


HOLDS = textwrap.dedent(
    """
    import sys
    from tuition.ledger.database import open_ledger
    from tuition.ledger.schema import teachers
    with open_ledger().write() as db:
        db.execute(teachers.update().values(name="never committed"))
        print("ready", flush=True)
        sys.stdin.read()
    """
)


@pytest.fixture
def stopped(ledger):
    """A process that holds the ledger for writing, and is stopped."""
    account(ledger)
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()


def test_a_ledger_held_by_a_stopped_process_is_named_and_can_be_read(ledger, stopped, monkeypatch):
    for module in (database, postgres):
        monkeypatch.setattr(module, "BUSY_SECONDS", 1)
    impatient = open_ledger()
    with pytest.raises(LedgerWaits, match=r"another process has held it for 1 s.*End that process or wait") as raised:
        calls.start_run(impatient, 1, 10)
    if impatient.server:
        assert f"tuition {stopped.pid} on " in str(raised.value)
    assert [found["name"] for found in accounts.status(impatient)] == ["t"]
    stopped.kill()
    stopped.communicate()
    assert calls.start_run(impatient, 1, 10) == 1
    impatient.close()


def test_a_newer_ledger_is_refused(ledger):
    with ledger.write() as db:
        db.execute(schema.version.update().values(version=99))
    with pytest.raises(LedgerError, match="newer Tuition"):
        open_ledger()


def test_the_tables_of_another_program_are_left_alone(new_place, tmp_path):
    place = new_place()
    url = place.replace("postgresql://", "postgresql+psycopg://") if "://" in place else f"sqlite:///{place}"
    engine = sa.create_engine(url)
    with engine.begin() as db:
        db.exec_driver_sql("CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY)")
    with pytest.raises(LedgerError, match=r"holds runs of another program.*TUITION_LEDGER"):
        open_ledger(place)
    assert sa.inspect(engine).get_table_names() == ["runs"]
    engine.dispose()


@pytest.mark.parametrize(
    ("silent", "state"), [(processes.SILENT_SECONDS / 2, "reserved"), (processes.SILENT_SECONDS * 2, None)]
)
def test_a_run_on_another_machine_is_dead_when_it_was_silent_for_long(ledger, silent, state):
    id = account(ledger)
    run = calls.start_run(ledger, id, 20)
    calls.reserve(ledger, run, REQUESTS[:2])
    with ledger.write() as db:
        db.execute(schema.runs.update().values(host="elsewhere", heartbeat=schema.runs.c.heartbeat - silent))
    calls.settle(ledger, id)
    with ledger.read() as db:
        live = db.scalars(sa.select(schema.calls.c.state).where(schema.calls.c.state.in_(schema.LIVE))).all()
    assert live == ([state] * 2 if state else [])
    assert accounts.verify(ledger) == []


def test_what_a_server_said_is_stored_whatever_is_in_it(ledger):
    """The reason of a malformed answer may quote bytes that a database's text cannot hold; the answer is paid all the same."""
    id = account(ledger, name="Lehrer \N{SNOWMAN}")
    run = calls.start_run(ledger, id, 1)
    made = calls.reserve(ledger, run, REQUESTS[:1])
    calls.mark_sent(ledger, run, made)
    calls.finish(
        ledger, run, made, at_cost([calls.Answer({}, "found '\0\x1b[31m \N{SNOWMAN}'", os.urandom(100) + b"\0")], 1)
    )
    assert accounts.status(ledger)[0]["calls"]["done"] == 1
    with ledger.read() as db:
        assert "\N{SNOWMAN}" in db.scalar(sa.select(schema.rejected.c.reason))

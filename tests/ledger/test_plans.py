"""No question on the way of a purchase reads every call there is: the plans that SQLite has for its statements."""

from hashlib import sha256

import numpy as np
import pytest
import sqlalchemy as sa
from support.statements import statements

from tuition.ledger import accounts, calls, owned
from tuition.ledger.calls import Answer
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request

IDS = [sha256(str(i).encode()).hexdigest() for i in range(400)]
REQUESTS = [Request(id) for id in IDS]


@pytest.fixture
def bought(tmp_path):
    """A SQLite ledger with 300 answered calls, three unknown ones; (ledger, teacher)."""
    ledger = open_ledger(str(tmp_path / "ledger.db"))
    teacher = accounts.open_account(ledger, "ab" * 32, "t", {}, None)
    run = calls.start_run(ledger, teacher, 1000)
    buy(ledger, run, REQUESTS[:300])
    lost = calls.reserve(ledger, run, REQUESTS[300:303])
    calls.mark_sent(ledger, run, lost)
    calls.abandon(ledger, run, lost, "lost")
    yield ledger, teacher
    ledger.close()


def buy(ledger, run, requests, **more):
    made = calls.reserve(ledger, run, requests, **more)
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, [Answer({"logits": np.zeros(3, np.float32)})] * len(made))
    return made


def scans(ledger, do):
    """The statements of `do()` that read the whole table of calls, or a whole index of it."""
    plans = []

    def note(connection, cursor, statement, parameters, context, many):
        if not many and statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
            raw = connection.connection.dbapi_connection
            for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall():
                if row[3].startswith("SCAN calls"):
                    plans.append(f"{row[3]}: {statement}")

    sa.event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        do()
    finally:
        sa.event.remove(ledger.engine, "before_cursor_execute", note)
    return plans


def test_a_purchase_finds_its_calls_by_an_index(bought):
    ledger, teacher = bought

    def purchase():
        run = calls.start_run(ledger, teacher, 1000)
        assert len(buy(ledger, run, REQUESTS[290:320], resend=True)) == 20
        calls.refund(ledger, run, calls.reserve(ledger, run, REQUESTS[330:340]), "429")
        calls.settle(ledger, teacher)
        calls.holders(ledger, teacher)

    assert scans(ledger, purchase) == []


def test_what_is_owned_and_what_is_open_is_found_by_an_index(bought):
    ledger, teacher = bought

    def ask():
        standing = owned.standing(ledger, teacher, REQUESTS)
        assert len(standing.states(REQUESTS)) == 303
        assert sum(bool(standing.signals(one)) for one in REQUESTS) == 300
        assert len(owned.read(ledger, teacher, REQUESTS)[0]) == 300
        assert len(accounts.listed(ledger, teacher, ["unknown"])) == 3
        assert accounts.resolve(ledger, teacher, charged=False) == 3

    assert scans(ledger, ask) == []


def test_how_any_number_of_requests_stand_is_two_questions(bought):
    ledger, teacher = bought
    several = [*REQUESTS, *(one.again(2) for one in REQUESTS[:20]), *(one.further(["embedding"]) for one in REQUESTS)]
    for requests in (REQUESTS, several):
        with statements(ledger) as sent:
            assert len(owned.standing(ledger, teacher, requests).states(requests)) == 303
        assert len(sent) == 2


def test_a_scan_would_be_seen(bought):
    ledger, _ = bought

    def count():
        with ledger.read() as db:
            db.execute(sa.text("SELECT count(*) FROM calls WHERE detail = 'x'"))

    assert len(scans(ledger, count)) == 1

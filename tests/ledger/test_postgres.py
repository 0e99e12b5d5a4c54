"""PostgreSQL as the ledger: its URLs, what is said where it cannot be used, and that a restart loses nothing."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import sqlalchemy as sa
from support import bill, write_params
from support.answers import at_cost

from tuition.ledger import accounts, calls, database, owned, postgres, schema
from tuition.ledger.calls import Answer
from tuition.ledger.database import LedgerError, LedgerWaits, open_ledger
from tuition.ledger.keys import Request

pytestmark = pytest.mark.postgres

IDS = [f"{i:064x}" for i in range(50)]
REQUESTS = [Request(id) for id in IDS]
SECRET = "s3cr:t/@%"


@pytest.fixture
def url(postgresql, monkeypatch):
    made = postgresql.new_database()
    monkeypatch.setenv("TUITION_LEDGER", made)
    yield made
    postgresql.drop(made)


@pytest.fixture
def ledger(url):
    opened = open_ledger()
    yield opened
    opened.close()


def account(ledger):
    return accounts.open_account(ledger, "cd" * 32, "t", {}, None)


def answers(made):
    return [Answer({"logits": np.full(10, int(call.request.sample, 16), np.float32)}) for call in made]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_any_postgresql_url_is_understood(url, scheme):
    ledger = open_ledger(url.replace("postgresql:", f"{scheme}:"))
    assert accounts.status(ledger) == []
    assert ledger.engine.driver == "psycopg"
    assert ledger.place.startswith("postgresql://")


def roles(postgresql, *statements):
    """`locked`, whom the server lets in by password alone."""
    postgresql.sql("DROP ROLE IF EXISTS locked", f"CREATE ROLE locked LOGIN PASSWORD '{SECRET}'", *statements)


def test_the_password_is_used_and_never_shown(postgresql):
    roles(postgresql)
    place = postgresql.new_database("OWNER locked")
    with_password = postgresql.url(place.partition("@/")[2].partition("?")[0], "locked", SECRET)
    ledger = open_ledger(with_password)
    assert accounts.status(ledger) == []
    assert "locked:***@" in ledger.place
    assert "s3cr" not in ledger.place
    ledger.close()
    by_query = place.replace("tuition@", "locked@") + "&password=" + with_password.split(":")[2].split("@")[0]
    ledger = open_ledger(by_query)
    assert "s3cr" not in ledger.place
    ledger.close()
    postgresql.drop(place)


@pytest.mark.parametrize(
    ("place", "match"),
    [
        ("locked:wrong-s3cr", r"refused user 'locked'.*TUITION_LEDGER: put the right password into it"),
        ("locked", r"refused user 'locked'.*TUITION_LEDGER"),
        ("nobody-s3cr-here", r"cannot be reached.*does not exist.*TUITION_LEDGER"),
    ],
)
def test_a_user_who_is_not_let_in_is_told_what_to_change(postgresql, url, place, match):
    roles(postgresql)
    with pytest.raises(LedgerError, match=match) as raised:
        open_ledger(url.replace("tuition@", f"{place}@"))
    assert ":wrong" not in str(raised.value)


def test_a_database_that_is_missing_or_closed_is_named_with_what_to_do(postgresql, url):
    with pytest.raises(LedgerError, match=r'"none" does not exist.*TUITION_LEDGER.*`createdb none`'):
        open_ledger(postgresql.url("none"))
    roles(postgresql)
    postgresql.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=url.partition("@/")[2].partition("?")[0])
    with pytest.raises(
        LedgerError, match=r"permission denied.*TUITION_LEDGER: 'locked' needs rights.*createdb"
    ) as raised:
        open_ledger(url.replace("tuition@", "locked:s3cr%3At%2F%40%25@"))
    assert "s3cr" not in str(raised.value)


@pytest.mark.parametrize(
    ("place", "match"),
    [
        ("postgresql://u:s3cr@127.0.0.1:1/db", r"u:\*\*\*@127.0.0.1:1/db: .*cannot be reached.*TUITION_LEDGER"),
        ("postgresql://u:s3cr@no-such-host.invalid/db", r"cannot be reached.*correct host, port.*TUITION_LEDGER"),
        ("postgresql://u:s3cr/db", r"TUITION_LEDGER: cannot be read as a URL; valid: a file path"),
        ("postgresql://u:s3cr@127.0.0.1/db?no_such_option=1", r"no_such_option"),
        ("mysql://u:s3cr@127.0.0.1/db", r"mysql://… is no ledger; valid: a file path.*postgresql://user:password@host"),
    ],
)
def test_a_server_that_cannot_be_had_is_named_without_the_password(place, match):
    with pytest.raises(LedgerError, match=match) as raised:
        open_ledger(place)
    assert "s3cr" not in str(raised.value)


def test_a_missing_driver_is_named():
    lacks = textwrap.dedent(
        """
        import sys
        sys.modules["psycopg"] = None  # as where it is not installed
        from tuition.ledger.database import LedgerError, open_ledger
        try:
            open_ledger("postgresql://u:s3cr@127.0.0.1/db")
        except LedgerError as error:
            print(error)
        """
    )
    ran = subprocess.run([sys.executable, "-c", lacks], capture_output=True, text=True, timeout=60)
    assert "TUITION_LEDGER: PostgreSQL needs a driver" in ran.stdout
    assert "pip install 'psycopg[binary]'" in ran.stdout
    assert "s3cr" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", LedgerWaits),
        ("53100", LedgerWaits),
        ("57014", LedgerWaits),
        ("25006", LedgerWaits),
        ("22012", LedgerError),
    ],
)
def test_what_passes_is_told_from_what_does_not(ledger, state, kind):
    with pytest.raises(LedgerError) as raised, ledger.write() as db:
        db.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'so said the server' USING ERRCODE = '{state}'; END $$")
    assert type(raised.value) is kind
    assert "so said the server" in str(raised.value)


def test_a_deadlock_with_another_program_passes(ledger):
    """Someone who locks rows by hand, in the other order: the ledger's transaction is the victim, and may be tried again."""
    for mark in ("aa", "bb"):
        accounts.open_account(ledger, mark * 32, mark, {}, None)
    touch = sa.text("UPDATE teachers SET name = name WHERE id = :id")
    other = ledger.engine.connect().execution_options(isolation_level="READ COMMITTED")
    other.execute(sa.text("SET deadlock_timeout = '1h'"))
    other.execute(touch, {"id": 2})
    program = textwrap.dedent(
        """
        import sys
        import sqlalchemy as sa
        from tuition.ledger.database import LedgerWaits, open_ledger
        touch = sa.text("UPDATE teachers SET name = name WHERE id = :id")
        try:
            with open_ledger().write() as db:
                db.execute(touch, {"id": 1})
                print("ready", flush=True)
                db.execute(touch, {"id": 2})
        except LedgerWaits as error:
            print(error)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    other.execute(touch, {"id": 1})  # waits for the process, which waits for us, until the server ends one of the two
    other.close()
    assert "deadlock detected" in process.communicate(timeout=60)[0]


def write_and_write(ledger, meanwhile):
    """A transaction of two writes, and what happens between them."""
    with ledger.write() as db:
        db.execute(schema.teachers.update().values(name="never committed"))
        meanwhile()
        db.execute(schema.teachers.update().values(name="never committed"))


def test_a_writer_that_falls_silent_loses_its_transaction_and_is_told_so(url, monkeypatch):
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 1)
    silent = open_ledger()
    account(silent)

    def another_writes():
        with open_ledger().write() as other:  # waits until the server has ended the silent one
            assert other.scalar(sa.select(schema.teachers.c.name)) == "t"

    with pytest.raises(LedgerWaits):
        write_and_write(silent, another_writes)
    assert [found["name"] for found in accounts.status(silent)] == ["t"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_answers_survive_a_restart_of_the_server(ledger, postgresql, how):
    """Shut down, or crashed, between asking and owning: what was committed is there, and what waited is committed later."""
    id = account(ledger)
    run = calls.start_run(ledger, id, 50)
    made = calls.reserve(ledger, run, REQUESTS)
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made[:10], at_cost(answers(made[:10]), 1))
    with pytest.raises(LedgerWaits):
        write_and_write(ledger, lambda: postgresql.stop(how))
    with pytest.raises(LedgerWaits, match=r"cannot be reached.*Start it.*what is owned stays owned"):
        calls.finish(ledger, run, made[10:], at_cost(answers(made[10:]), 1))
    with pytest.raises(LedgerWaits):
        accounts.status(ledger)
    postgresql.start()
    calls.finish(ledger, run, made[10:], at_cost(answers(made[10:]), 1))
    calls.finish(
        ledger, run, made[10:], at_cost(answers(made[10:]), 1)
    )  # whose commit was never heard of: once more is once
    found = accounts.status(ledger)[0]
    assert (found["name"], found["calls"]["done"], found["cost"]) == ("t", 50, 50.0)
    assert owned.read(ledger, id, REQUESTS)[1]["logits"][:, 0].tolist() == list(range(50))
    assert accounts.verify(ledger) == []


@pytest.mark.slow
def test_teach_holds_paid_answers_while_the_server_is_away(paid, url, postgresql):
    """The server goes down while the teacher answers and comes back later: nothing is lost, nothing is asked twice.

    The first of the canary's eight went alone, and is stored.
    """
    write_params(
        paid,
        {
            "teacher.kind": "python",
            "teacher.function": "paid:answer",
            "teacher.price": 0.01,
            "study.budgets": [40],
            "data.source": "mnist5k",
            "teacher.canary": 8,
        },
    )
    command = [sys.executable, "-m", "stages.teach", "40"]
    teach = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "DELAY": "1"}
    )
    try:
        while len(bill(paid)) < 8 and teach.poll() is None:
            time.sleep(0.01)
        postgresql.stop()
        said = ""
        assert teach.stdout is not None
        for line in teach.stdout:
            said += line
            if "Holding" in line:
                break
        assert "Holding 7 paid answers" in said
        postgresql.start()
        said += teach.communicate(timeout=120)[0]
    finally:
        teach.kill()
        teach.wait()
        if postgresql.process is None:
            postgresql.start()
    assert teach.returncode == 0, said
    assert len(bill(paid)) == len(set(bill(paid))) == 40
    assert accounts.status(open_ledger())[0]["samples"] == 40


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "UTF8"])
def test_names_come_back_whatever_the_databases_encoding(postgresql, encoding):
    place = postgresql.new_database(f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    ledger = open_ledger(place)
    name = "Lehrer \N{LATIN SMALL LETTER U WITH DIAERESIS} \N{SNOWMAN}"
    accounts.open_account(ledger, "cd" * 32, name, {}, None)
    assert accounts.find(ledger, "cd").name == name
    ledger.close()
    postgresql.drop(place)


def test_samples_are_found_by_the_index_once_many_came_at_once(ledger):
    account(ledger)
    many = "SELECT 1, sha256(i::text::bytea), '', 'done', 0, 0 FROM generate_series(1, 20000) i"
    with ledger.write() as db:
        db.exec_driver_sql(f"INSERT INTO calls (teacher_id, sample, view, state, tokens, cost) {many}")
        ledger.analyse(db)
    chosen = "EXPLAIN SELECT id FROM calls WHERE teacher_id = 1 AND view = '' AND state = 'done' AND substr(sample, 17) IN ('a', 'b')"
    with ledger.read() as db:
        plan = "\n".join(db.scalars(sa.text(chosen)))
    assert "Index Cond" in plan
    assert "sample" in plan.partition("Index Cond")[2].partition("\n")[0]


def test_a_server_is_taken_to_have_a_ledger(url):
    assert database.exists(url)

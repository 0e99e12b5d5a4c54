"""A ledger that the first Tuition wrote is brought up to date when it is opened, on either engine, and nothing in it is lost."""

import hashlib
import time

import numpy as np
import pytest
import sqlalchemy as sa
from support.answers import at_cost

from tuition.identity import Identity
from tuition.ledger import accounts, calls, migrations, owned, schema
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.spending import Bound, CapReached

IDS = [f"{i:064x}" for i in range(10)]
REQUESTS = [Request(id) for id in IDS]
STATES = ["done"] * 5 + ["refunded", "unknown", "unknown", "sent"]  # of the calls for the first nine


def version_1() -> sa.MetaData:
    """The tables of version 1."""
    tables = sa.MetaData()
    column, text, real, long, bytes_ = sa.Column, sa.Text, sa.Float, sa.BigInteger, sa.LargeBinary
    sa.Table("ledger_version", tables, column("version", sa.Integer, nullable=False))
    sa.Table(
        "teachers",
        tables,
        column("id", sa.Integer, primary_key=True),
        column("fingerprint", sa.String(64), unique=True),
        column("name", text, nullable=False),
        column("description", text, nullable=False),
        column("cap", long),
        column("spent", long, nullable=False),
    )
    sa.Table(
        "runs",
        tables,
        column("id", sa.Integer, primary_key=True),
        column("teacher_id", sa.ForeignKey("teachers.id")),
        column("host", text),
        column("pid", sa.Integer),
        column("process_started", real),
        column("heartbeat", real),
        column("budget", long),
        column("spent", long),
    )
    made = sa.Table(
        "calls",
        tables,
        column("id", sa.Integer, primary_key=True),
        column("teacher_id", sa.ForeignKey("teachers.id")),
        column("sample", bytes_(32)),
        column("view", text),
        column("state", sa.String(8)),
        column("run_id", sa.ForeignKey("runs.id")),
        column("key", sa.String(32)),
        column("reserved_at", real),
        column("sent_at", real),
        column("ended_at", real),
        column("cost", long, nullable=False),
        column("detail", text),
    )
    live, open_ = sa.text("state <> 'refunded'"), sa.text("state IN ('reserved', 'sent', 'unknown')")
    one = (made.c.teacher_id, made.c.sample, made.c.view)
    sa.Index("one_live_call", *one, unique=True, sqlite_where=live, postgresql_where=live)
    sa.Index("open_calls", made.c.teacher_id, made.c.state, sqlite_where=open_, postgresql_where=open_)
    sa.Table(
        "outputs",
        tables,
        column("call_id", sa.ForeignKey("calls.id"), primary_key=True),
        column("signal", text, primary_key=True),
        column("type", text),
        column("payload", bytes_),
        column("checksum", bytes_(8)),
    )
    sa.Table(
        "rejected",
        tables,
        column("call_id", sa.ForeignKey("calls.id"), primary_key=True),
        column("reason", text),
        column("payload", bytes_),
    )
    return tables


@pytest.fixture
def old(new_place):
    """The place of a ledger of version 1: nine calls, five done, the last of these with a malformed answer."""
    place = new_place()
    engine = sa.create_engine(
        place.replace("postgresql:", "postgresql+psycopg:") if "://" in place else f"sqlite:///{place}"
    )
    tables = version_1()
    day = float(time.time() // 86_400 * 86_400)
    reserved = [day - 0.4] * 2 + [day + 0.6] * 7  # two of them yesterday, half a second before midnight
    rows = [
        {
            "teacher_id": 1,
            "sample": bytes.fromhex(IDS[i]),
            "view": "clean",
            "state": state,
            "run_id": 1,
            "key": "k",
            "reserved_at": reserved[i],
            "sent_at": reserved[i] + 0.1,
            "cost": 250_000 * (state == "done"),
            "detail": "malformed: NaN" if i == 4 else None,
        }
        for i, state in enumerate(STATES)
    ]
    outputs = [
        {
            "call_id": i + 1,
            "signal": signal,
            "type": f"float32[{n}]",
            "payload": np.full(n, i, np.float32).tobytes(),
            "checksum": hashlib.blake2b(np.full(n, i, np.float32).tobytes(), digest_size=8).digest(),
        }
        for i in range(4)
        for signal, n in (("logits", 10), ("embedding", 4))
    ]
    with engine.begin() as db:
        tables.create_all(db)
        add = {name: table.insert() for name, table in tables.tables.items()}
        db.execute(add["ledger_version"].values(version=1))
        teacher = {"fingerprint": "cd" * 32, "name": "t", "description": "{}", "cap": 9, "spent": 8}
        db.execute(add["teachers"].values(teacher))
        db.execute(
            add["runs"].values(teacher_id=1, host="gone", pid=1, process_started=0.0, heartbeat=0.0, budget=9, spent=8)
        )
        db.execute(add["calls"], rows)
        db.execute(add["outputs"], outputs)
        db.execute(add["rejected"].values(call_id=5, reason="NaN", payload=b"\0raw"))
    engine.dispose()
    return place


def test_an_old_ledger_opens_with_all_that_it_held(old):
    ledger = open_ledger(old)
    assert accounts.verify(ledger) == []
    found = accounts.status(ledger)[0]
    assert found["calls"] == {"done": 5, "refunded": 1, "unknown": 2, "reserved": 1}
    assert (found["samples"], found["cost"], found["cap"]) == (4, 1.25, 9)
    _, signals, costs = owned.read(ledger, 1, REQUESTS)
    assert signals["logits"][:, 0].tolist() == signals["embedding"][:, 0].tolist() == [0, 1, 2, 3]
    assert costs.tolist() == [250_000] * 4
    assert accounts.rejected_answer(ledger, 5) == ("NaN", b"\0raw")
    with ledger.read() as db:
        assert db.scalars(sa.select(schema.version.c.version)).all() == [migrations.NEWEST]
        assert db.scalar(sa.select(sa.func.sum(schema.spending.c.calls))) == 8  # of two days
    open_ledger(old).close()  # and once is enough
    ledger.close()


def test_an_old_ledger_goes_on(old):
    ledger = open_ledger(old)
    calls.settle(ledger, 1)  # its run is long dead
    assert accounts.status(ledger)[0]["calls"]["unknown"] == 3
    run = calls.start_run(ledger, 1, 20, Bound())
    with pytest.raises(CapReached, match="8 calls spent of 9"):
        calls.reserve(ledger, run, REQUESTS)
    assert accounts.resolve(ledger, 1, False, 0.0) == 3
    made = calls.reserve(ledger, run, REQUESTS[5:9])
    assert len(made) == 4
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, at_cost([calls.Answer({"logits": np.ones(10, np.float32)})] * 4, 0.25))
    assert accounts.status(ledger)[0]["cost"] == 2.25
    assert accounts.verify(ledger) == []
    ledger.close()


def without_later_columns(db: sa.Connection) -> None:
    """As version 3 had it."""
    without_who_answered(db)
    for name in ("usable", "resent"):
        db.exec_driver_sql(f"ALTER TABLE calls DROP COLUMN {name}")
    db.exec_driver_sql("ALTER TABLE teachers DROP COLUMN classes")


def without_who_answered(db: sa.Connection) -> None:
    """As version 5 had it."""
    for table, name in (("calls", "identity_id"), ("calls", "unlisted_tokens"), ("teachers", "place")):
        db.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {name}")
    db.exec_driver_sql("DROP TABLE identities")


def test_a_ledger_of_version_2_opens_smaller_and_still_pays_once(new_place):
    place = new_place()
    ledger = open_ledger(place)
    teacher = accounts.open_account(ledger, "ab" * 32, "t", {}, None)
    run = calls.start_run(ledger, teacher, 100)
    views = [Request(id, "crop=1,1,26,26;flip=0") for id in IDS[:2]]
    for ids in (REQUESTS[:4], views, [REQUESTS[0].further(["embedding"])]):
        made = calls.reserve(ledger, run, ids)
        calls.mark_sent(ledger, run, made)
        calls.finish(ledger, run, made, [calls.Answer({"logits": np.full(3, len(ids), np.float32)})] * len(made))
    with ledger.write() as db:  # as version 2 had it
        without_later_columns(db)
        db.exec_driver_sql("DROP INDEX one_live_call")
        db.exec_driver_sql("UPDATE calls SET view = 'clean' WHERE view = ''")
        db.exec_driver_sql(
            "CREATE UNIQUE INDEX one_live_call ON calls (teacher_id, sample, view) "
            "WHERE state IN ('reserved', 'sent', 'done', 'unknown')"
        )
        db.execute(schema.version.update().values(version=2))
    ledger.close()

    ledger = open_ledger(place)
    with ledger.read() as db:
        assert db.scalar(sa.select(schema.version.c.version)) == migrations.NEWEST
        stored = db.exec_driver_sql("SELECT view, COUNT(*) FROM calls GROUP BY view ORDER BY view").all()
        assert [tuple(row) for row in stored] == [("", 4), ("clean+embedding", 1), ("crop=1,1,26,26;flip=0", 2)]
        views = db.scalars(sa.select(schema.calls.c.view).distinct()).all()
        assert sorted(views) == ["clean", "clean+embedding", "crop=1,1,26,26;flip=0"]
    assert list(owned.standing(ledger, teacher, REQUESTS).states(REQUESTS)) == REQUESTS[:4]
    assert calls.reserve(ledger, calls.start_run(ledger, teacher, 100), REQUESTS[:4]) == []
    row = {"teacher_id": teacher, "sample": bytes.fromhex(IDS[0]), "view": "clean", "state": "reserved"}
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as db:  # whatever the code above it does
        db.execute(schema.calls.insert().values(row))
    assert accounts.verify(ledger) == []
    ledger.close()


def test_a_ledger_of_version_3_told_states_by_text_and_they_are_columns_now(new_place):
    place = new_place()
    ledger = open_ledger(place)
    teacher = accounts.open_account(ledger, "ab" * 32, "t", {}, None)
    run = calls.start_run(ledger, teacher, 100)
    made = calls.reserve(ledger, run, REQUESTS[:7])
    calls.mark_sent(ledger, run, made)
    good, bad = calls.Answer({"logits": np.ones(3, np.float32)}), calls.Answer({}, "NaN", b"raw")
    calls.finish(ledger, run, made[:2], [good, bad])
    calls.abandon(ledger, run, made[2:], "lost")
    accounts.resolve(ledger, teacher, True, ids=[made[2].id])
    again = calls.reserve(ledger, run, REQUESTS[3:6], resend=True)  # the last stays as it is: unknown, sent once
    calls.mark_sent(ledger, run, again)
    calls.finish(ledger, run, again[:1], [good])
    calls.refund(ledger, run, again[1:2], "429")
    before = calls_as_they_are(ledger)
    with ledger.write() as db:
        without_later_columns(db)
        db.execute(schema.version.update().values(version=3))
    ledger.close()

    ledger = open_ledger(place)
    after = calls_as_they_are(ledger)
    answered_after_all = again[0].id  # version 3 did not keep that it had been sent again
    assert after.pop(answered_after_all) == ("done", True, False, None)
    assert before.pop(answered_after_all) == ("done", True, True, None)
    assert after == before
    assert [after[call.id][1] for call in made[:3]] == [True, False, False]
    assert [after[call.id][:3] for call in again[1:]] == [("unknown", None, True), ("sent", None, True)]
    states = owned.standing(ledger, teacher, REQUESTS).states(REQUESTS)
    assert list(states.values()) == ["owned", "unusable", "unusable", "owned", "unknown", "sent", "unknown"]
    calls.refund(ledger, run, again[2:], "503")  # of its first sending nothing is known still
    assert accounts.status(ledger)[0]["calls"]["unknown"] == 3
    assert [one["sample"] for one in accounts.listed(ledger, teacher, usable=False)] == IDS[2:0:-1]
    assert accounts.verify(ledger) == []
    ledger.close()


def test_a_ledger_of_version_5_did_not_know_who_answered(new_place):
    place = new_place()
    ledger = open_ledger(place)
    teacher = accounts.open_account(ledger, "ab" * 32, "t", {}, None)
    run = calls.start_run(ledger, teacher, 100)
    made = calls.reserve(ledger, run, REQUESTS[:2])
    calls.finish(ledger, run, made, [calls.Answer({"logits": np.ones(3, np.float32)})] * 2)
    with ledger.write() as db:
        without_who_answered(db)
        db.execute(schema.version.update().values(version=5))
    ledger.close()

    ledger = open_ledger(place)
    run = calls.start_run(ledger, teacher, 100)
    made = calls.reserve(ledger, run, REQUESTS[2:4])
    answer = calls.Answer(
        {"logits": np.ones(3, np.float32)}, tokens=11, unlisted_tokens=10, identity=Identity("m", "", "b")
    )
    calls.finish(ledger, run, made, [answer] * 2)
    (found,) = accounts.status(ledger)
    assert found["answered_by"] == [{"model": "m", "version": "", "backend": "b", "calls": 2}]
    assert found["unlisted_tokens"] == 20
    listed = accounts.listed(ledger, teacher)
    assert [(one["model"], one["version"], one["backend"], one["unlisted_tokens"]) for one in listed] == [
        ("m", None, "b", 10),
        ("m", None, "b", 10),
        (None, None, None, None),
        (None, None, None, None),
    ]
    assert accounts.move(ledger, teacher, "http://a") is None
    assert accounts.move(ledger, teacher, "http://b") == ("http://a", 4)
    assert accounts.verify(ledger) == []
    ledger.close()


def calls_as_they_are(ledger) -> dict[int, tuple]:
    """(state, usable, resent, detail) by number."""
    columns = (
        schema.calls.c.id,
        schema.calls.c.state,
        schema.calls.c.usable,
        schema.calls.c.resent,
        schema.calls.c.detail,
    )
    with ledger.read() as db:
        return {row[0]: tuple(row[1:]) for row in db.execute(sa.select(*columns))}

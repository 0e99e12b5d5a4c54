"""Two ledgers become one: what either owns is owned, what either spent is counted, and nothing is counted twice."""

import os

import numpy as np
import pytest
import sqlalchemy as sa

from tuition.ledger import accounts, calls, owned
from tuition.ledger.calls import Answer
from tuition.ledger.database import LedgerError, open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.merge import merge
from tuition.ledger.schema import calls as table
from tuition.ledger.schema import parts, runs, spending, teachers
from tuition.ledger.spending import Bound, CapReached, Caps

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(40)]
REQUESTS = [Request(id) for id in IDS]
FIRST, SECOND = "ab" * 32, "cd" * 32


@pytest.fixture
def both(new_place):
    opened = [open_ledger(new_place()) for _ in range(2)]
    yield opened
    assert [accounts.verify(one) for one in opened] == [[], []]
    for one in opened:
        one.close()


def value(sample: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([int(sample, 16), seed]).normal(size=10).astype(np.float32)


def buy(
    ledger,
    samples,
    *,
    fate="done",
    cost=0.5,
    view="clean",
    further=(),
    signals=("logits",),
    mark=FIRST,
    seed=0,
    caps=None,
):
    """Calls for `samples` that end so, at `cost` and 3 tokens each; returns the teacher's id."""
    id = accounts.open_account(ledger, mark, f"teacher {mark[:2]}", {"kind": "test"}, caps)
    run = calls.start_run(ledger, id, 1000)
    requests = [Request(sample, view, signals=further) for sample in samples]
    made = calls.reserve(ledger, run, requests, tokens=5, cost=900_000)
    if fate != "reserved":
        calls.mark_sent(ledger, run, made)
    micros = int(cost * 1e6)
    answers = [
        Answer({}, "NaN", b"raw", tokens=3, cost=micros)
        if fate == "malformed"
        else Answer({name: value(call.request.sample, seed) for name in signals}, tokens=3, cost=micros)
        for call in made
    ]
    ends = {"unknown": calls.abandon, "refunded": calls.refund, "done": calls.finish, "malformed": calls.finish}
    if fate in ends:
        ends[fate](ledger, run, made, answers if ends[fate] is calls.finish else "why")
    return id


def found(ledger, mark=FIRST) -> dict:
    """Calls by state, samples owned, what the answered ones cost, and what counts as spent: (calls, tokens, millionths)."""
    status = next(one for one in accounts.status(ledger) if one["fingerprint"] == mark)
    row = accounts.find(ledger, mark)
    made = {state: number for state, number in status["calls"].items() if number}
    status["spent"] = (row.spent, row.spent_tokens, row.spent_cost)
    return {"calls": made} | {key: status[key] for key in ("samples", "cost", "spent")}


def content(ledger) -> list:
    """Everything in it but times."""
    with ledger.read() as db:
        of = [sa.select(one).order_by(*one.primary_key.columns) for one in (teachers, table, parts, spending)]
        return [tuple(row) for chosen in of for row in db.execute(chosen)]


def test_disjoint_ledgers_add_up(both):
    mine, theirs = both
    id = buy(mine, IDS[:10])
    buy(theirs, IDS[10:25], cost=0.25)
    buy(theirs, IDS[:5], mark=SECOND, caps=Caps(Bound(calls=7)))
    before = content(theirs)
    assert merge(mine, theirs) == {"taken": 20, "held": 0, "spent": 0, "damaged": 0}
    assert content(theirs) == before
    assert found(mine) == {"calls": {"done": 25}, "samples": 25, "cost": 8.75, "spent": (25, 75, 8_750_000)}
    assert found(mine, SECOND) == {"calls": {"done": 5}, "samples": 5, "cost": 2.5, "spent": (5, 15, 2_500_000)}
    assert accounts.status(mine)[1]["cap"] == 7
    _, signals, costs = owned.read(mine, id, REQUESTS)
    np.testing.assert_array_equal(signals["logits"], [value(one) for one in IDS[:25]])
    assert costs.tolist() == [500_000] * 10 + [250_000] * 15
    before = content(mine)
    assert merge(mine, theirs) == {"taken": 0, "held": 20, "spent": 0, "damaged": 0}
    assert content(mine) == before


def test_what_both_own_counts_once_and_stays_as_it_is_here(both):
    mine, theirs = both
    id = buy(mine, IDS[:10], caps=Caps(Bound(calls=40)))
    buy(theirs, IDS[5:20], cost=0.1, seed=1)
    assert merge(mine, theirs) == {"taken": 10, "held": 5, "spent": 0, "damaged": 0}
    assert found(mine) == {"calls": {"done": 20}, "samples": 20, "cost": 6.0, "spent": (20, 60, 6_000_000)}
    expected = [value(one, 0 if i < 10 else 1) for i, one in enumerate(IDS[:20])]
    np.testing.assert_array_equal(owned.read(mine, id, REQUESTS)[1]["logits"], expected)
    assert accounts.status(mine)[0]["cap"] == 40  # and so does its bound
    with pytest.raises(CapReached, match="20 calls spent of 40"):
        calls.reserve(mine, calls.start_run(mine, id, 100), [Request(f"{i:064x}") for i in range(100, 121)])


def test_each_way_round_owns_the_same(both):
    mine, theirs = both
    id = buy(mine, IDS[:10])
    buy(mine, IDS[10:12], fate="unknown")
    buy(theirs, IDS[8:20], cost=0.5)
    buy(theirs, IDS[20:22], fate="malformed")
    for one, other in (both, both[::-1]):
        merge(one, other)
    for one in both:
        assert found(one)["samples"] == 20
        assert found(one)["spent"] == (22, 66, 11_000_000)
        assert len(owned.read(one, id, REQUESTS)[0]) == 20


def test_unknown_here_and_owned_there_is_owned(both):
    """The day and the run that held it back at its worst are told what it came to."""
    mine, theirs = both
    id = buy(mine, IDS[:4], fate="unknown")
    assert found(mine)["spent"] == (4, 20, 3_600_000)
    buy(theirs, IDS[:3], cost=0.2)
    assert merge(mine, theirs) == {"taken": 3, "held": 0, "spent": 0, "damaged": 0}
    assert found(mine)["calls"] == {"done": 3, "unknown": 1}
    assert found(mine)["spent"] == (4, 3 * 3 + 5, 3 * 200_000 + 900_000)
    with mine.read() as db:
        assert db.execute(sa.select(runs.c.spent, runs.c.spent_tokens, runs.c.spent_cost)).one() == (4, 14, 1_500_000)
        assert db.execute(sa.select(spending.c.calls, spending.c.tokens, spending.c.cost)).one() == (4, 14, 1_500_000)
    assert accounts.resolve(mine, id, False) == 1
    assert found(mine)["spent"] == (3, 9, 600_000)


@pytest.mark.parametrize("cost", [0.1, 0.8])
def test_charged_for_nothing_here_and_owned_there_is_owned_and_what_was_charged_stays_spent(both, cost):
    mine, theirs = both
    id = buy(mine, IDS[:2], fate="malformed", cost=0.5)
    accounts.resolve(mine, buy(mine, IDS[2:3], fate="unknown"), True, 0.5)
    buy(theirs, IDS[:3], cost=cost)
    assert merge(mine, theirs)["taken"] == 3
    assert owned.standing(mine, id, REQUESTS).states(REQUESTS[:3]) == dict.fromkeys(REQUESTS[:3], "owned")
    assert found(mine)["spent"][2] == 3 * max(500_000, int(cost * 1e6))
    assert merge(mine, theirs)["taken"] == 0


def test_what_was_charged_for_nothing_there_counts_and_is_never_bought_again(both):
    mine, theirs = both
    id = buy(mine, IDS[:2])
    buy(theirs, IDS[1:4], fate="malformed", cost=0.3)
    buy(theirs, IDS[4:6], fate="unknown")
    buy(theirs, IDS[6:8], fate="refunded")
    assert merge(mine, theirs) == {"taken": 0, "held": 0, "spent": 4, "damaged": 0}
    assert found(mine)["calls"] == {"done": 4, "unknown": 2}
    assert found(mine)["spent"] == (6, 2 * 3 + 2 * 3 + 2 * 5, 1_000_000 + 600_000 + 1_800_000)
    kept = accounts.listed(mine, id, usable=False)
    assert {accounts.rejected_answer(mine, one["id"]) for one in kept} == {("NaN", b"raw")}
    run = calls.start_run(mine, id, 100)
    assert [call.request.sample for call in calls.reserve(mine, run, REQUESTS[:8])] == IDS[6:8]
    calls.refund(
        mine, run, calls.reserve(mine, run, REQUESTS[4:6], resend=True), "429"
    )  # of its first sending nothing is known
    assert found(mine)["calls"]["unknown"] == 2
    assert merge(mine, theirs)["spent"] == 0


def test_an_unknown_call_of_another_ledger_is_sent_again_and_counted_here(both):
    mine, theirs = both
    id = buy(theirs, IDS[:3], fate="unknown")
    merge(mine, theirs)
    with mine.read() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(spending)) == 0  # it was not spent here
    run = calls.start_run(mine, id, 10)
    made = calls.reserve(mine, run, REQUESTS[:3], resend=True, tokens=5, cost=900_000)
    calls.mark_sent(mine, run, made)
    calls.finish(mine, run, made, [Answer({"logits": value(call.request.sample)}, tokens=3, cost=100) for call in made])
    assert found(mine)["spent"] == (3, 9, 300)
    with mine.read() as db:
        assert db.execute(sa.select(spending.c.calls, spending.c.tokens, spending.c.cost)).one() == (3, 9, 300)


def test_further_signals_join_what_is_owned(both):
    mine, theirs = both
    id = buy(mine, IDS[:6])
    buy(theirs, IDS[3:8], cost=0.2)
    buy(theirs, IDS[3:7], further=("energy1",), signals=("energy1",), cost=0.0)
    assert merge(mine, theirs) == {"taken": 5, "held": 0, "spent": 0, "damaged": 0}
    have = owned.standing(mine, id, REQUESTS)
    assert [sorted(have.signals(one)) for one in REQUESTS[:8]] == [["logits"]] * 3 + [["energy1", "logits"]] * 4 + [
        ["logits"]
    ]
    assert found(mine)["samples"] == 8
    assert found(mine)["cost"] == 6 * 0.5 + 2 * 0.2
    assert have.further_calls(REQUESTS) == 3  # the fourth sample came whole, as one call
    assert merge(mine, theirs)["taken"] == 0


def test_views_are_samples_of_their_own(both):
    mine, theirs = both
    id = buy(mine, IDS[:2])
    buy(theirs, IDS[:4], view="crop=0,0,8,8;flip=1", seed=1)
    assert merge(mine, theirs)["taken"] == 4
    flipped = [Request(one, "crop=0,0,8,8;flip=1") for one in IDS[:4]]
    places, signals, _ = owned.read(mine, id, [*REQUESTS[:4], *flipped])
    assert places.tolist() == [0, 1, 4, 5, 6, 7]
    np.testing.assert_array_equal(signals["logits"][2:], [value(one, 1) for one in IDS[:4]])


def break_parts(ledger, keep):
    """Damage the logits of all calls but the first so many."""
    with ledger.write() as db:
        row = db.execute(sa.select(parts).where(parts.c.signal == "logits")).one()
        payload = row.payload[: keep * 40] + bytes(len(row.payload) - keep * 40)
        db.execute(parts.update().where(parts.c.signal == "logits").values(payload=payload))


def test_what_is_damaged_there_is_left_out_but_counts(both):
    mine, theirs = both
    id = buy(theirs, IDS[:4], cost=0.3)
    break_parts(theirs, keep=1)
    assert merge(mine, theirs) == {"taken": 1, "held": 0, "spent": 3, "damaged": 3}
    assert found(mine) == {"calls": {"done": 4}, "samples": 1, "cost": 1.2, "spent": (4, 12, 1_200_000)}
    assert owned.standing(mine, id, REQUESTS).states(REQUESTS[:4]) == {REQUESTS[0]: "owned"} | dict.fromkeys(
        REQUESTS[1:4], "unusable"
    )
    assert calls.reserve(mine, calls.start_run(mine, id, 10), REQUESTS[:4]) == []
    assert merge(mine, theirs) == {"taken": 0, "held": 1, "spent": 0, "damaged": 3}
    with theirs.write() as db:  # mended there, and merged once more
        db.execute(parts.update().values(payload=b"".join(value(one).tobytes() for one in IDS[:4])))
    assert merge(mine, theirs) == {"taken": 3, "held": 1, "spent": 0, "damaged": 0}
    np.testing.assert_array_equal(
        owned.read(mine, id, REQUESTS[:4], signals=["logits"])[1]["logits"], [value(o) for o in IDS[:4]]
    )
    assert found(mine)["spent"] == (4, 12, 1_200_000)


def test_what_is_damaged_here_and_whole_there_is_mended(both):
    mine, theirs = both
    id = buy(mine, IDS[:4], signals=("logits", "embedding"))
    buy(theirs, IDS[:4], signals=("logits", "embedding"))
    break_parts(mine, keep=2)
    assert merge(mine, theirs) == {"taken": 2, "held": 2, "spent": 0, "damaged": 0}
    np.testing.assert_array_equal(owned.read(mine, id, REQUESTS[:4])[1]["logits"], [value(one) for one in IDS[:4]])
    assert found(mine)["spent"] == (4, 12, 2_000_000)


@pytest.mark.parametrize("fate", ["reserved", "sent"])
def test_calls_under_way_there_are_refused_and_nothing_is_changed(both, fate):
    mine, theirs = both
    buy(mine, IDS[:2])
    buy(theirs, IDS[:3])
    buy(theirs, IDS[5:7], fate=fate)
    before = content(mine)
    with pytest.raises(LedgerError, match=r"2 calls are under way there\. Wait until they end"):
        merge(mine, theirs)
    assert content(mine) == before
    with theirs.write() as db:
        db.execute(table.update().where(table.c.state.in_(("reserved", "sent"))).values(run_id=None, state="unknown"))


def test_calls_under_way_here_are_left_alone(both):
    mine, theirs = both
    id = buy(mine, IDS[:3], fate="sent")
    buy(theirs, IDS[:5])
    assert merge(mine, theirs) == {"taken": 2, "held": 3, "spent": 0, "damaged": 0}
    assert found(mine)["calls"] == {"done": 2, "reserved": 3}
    with mine.read() as db:
        sent = [
            calls.Call(row.id, Request(row.sample.hex()), "")
            for row in db.execute(sa.select(table).where(table.c.state == "sent"))
        ]
    calls.finish(mine, 1, sent, [Answer({"logits": value(call.request.sample)}, tokens=3, cost=5) for call in sent])
    assert len(owned.read(mine, id, REQUESTS)[0]) == 5


def test_a_ledger_and_itself(new_place, tmp_path):
    mine = open_ledger()
    buy(mine, IDS[:3])
    with pytest.raises(LedgerError, match="cannot be merged with itself"):
        merge(mine, open_ledger())
    if not mine.server:
        os.symlink(mine.place, tmp_path / "link.db")
        with pytest.raises(LedgerError, match="cannot be merged with itself"):
            merge(mine, open_ledger(str(tmp_path / "link.db")))
    mine.close()


def test_the_name_that_a_teacher_has_here_stays(both):
    mine, theirs = both
    buy(mine, IDS[:1])
    buy(theirs, IDS[:2])
    accounts.open_account(theirs, FIRST, "another name", {}, None)
    merge(mine, theirs)
    assert accounts.find(mine, FIRST).name == "teacher ab"


def test_from_one_engine_to_the_other(new_place, tmp_path):
    mine, theirs = open_ledger(), open_ledger(str(tmp_path / "file.db"))
    id = buy(theirs, IDS[:20])
    buy(theirs, IDS[20:22], fate="malformed")
    assert merge(mine, theirs) == {"taken": 20, "held": 0, "spent": 2, "damaged": 0}
    np.testing.assert_array_equal(owned.read(mine, id, REQUESTS[:20])[1]["logits"], [value(one) for one in IDS[:20]])
    assert accounts.verify(mine) == []
    for one in (mine, theirs):
        one.close()

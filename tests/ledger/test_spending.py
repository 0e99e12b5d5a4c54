"""Bounds and counters: what is counted equals the calls at every commit, and no reservation passes a bound."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuition.errors import UserError
from tuition.ledger import accounts, calls, schema, spending
from tuition.ledger.calls import Answer
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.spending import DAY, Amount, Bound, CapReached, Caps

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(12)]
REQUESTS = [Request(id) for id in IDS]
NOON = 20_000 * DAY + DAY // 2
UNITS = ("calls", "tokens", "cost")


class Books:
    """A ledger with one teacher and two runs, steps that anything may happen in, and the sums done anew after each."""

    def __init__(self, caps: Caps, bounds: list[Bound]):
        self.ledger, self.caps = open_ledger(), caps
        self.id = accounts.open_account(self.ledger, "ab" * 32, "t", {}, caps)
        self.bounds = bounds
        self.runs = [calls.start_run(self.ledger, self.id, one.calls or 1000, one) for one in bounds]
        self.made: dict[int, list[calls.Call]] = {run: [] for run in self.runs}
        self.sent: dict[int, list[calls.Call]] = {run: [] for run in self.runs}
        self.day: dict[int, int] = {}  # on which each call is booked
        self.most: dict[int, tuple[int, int]] = {}  # (tokens, cost) that each call may come to

    def reserve(self, run, number, tokens, cost, resend, partial, slope):
        more = {"tokens": tokens, "cost": cost, "resend": resend, "partial": partial}
        some = REQUESTS[number : number + 5]
        if slope:
            more["amounts"] = {one: Amount(1, tokens + slope * i, cost + 2 * slope * i) for i, one in enumerate(some)}
        try:
            made = calls.reserve(self.ledger, run, some, **more)
        except CapReached:
            return
        self.made[run] += made
        with self.ledger.read() as db:
            counted_at = {call.id: call.most for call in made}
            for row in db.execute(sa.select(schema.calls).where(schema.calls.c.id.in_(list(counted_at)))):
                assert Amount(1, row.tokens, row.cost) == counted_at[row.id]
                assert row.reserved_at // DAY == time.time() // DAY
                self.day[row.id], self.most[row.id] = row.reserved_at // DAY, (row.tokens, row.cost)
                assert row.tokens >= tokens
                assert row.cost >= cost

    def send(self, run):
        calls.mark_sent(self.ledger, run, self.made[run])
        self.sent[run] += self.made[run]
        self.made[run] = []

    def finish(self, run, share, malformed):
        """Each call comes to some share of the most that it may."""
        answers = [
            Answer(
                {} if malformed and i == 0 else {"logits": np.ones(3, np.float32)},
                "NaN" if malformed and i == 0 else None,
                tokens=int(self.most[call.id][0] * share),
                cost=int(self.most[call.id][1] * share),
            )
            for i, call in enumerate(self.sent[run])
        ]
        calls.finish(self.ledger, run, self.sent[run], answers)
        self.sent[run] = []

    def refund(self, run):
        calls.refund(self.ledger, run, self.made[run] + self.sent[run], "test")
        self.made[run], self.sent[run] = [], []

    def abandon(self, run):
        calls.abandon(self.ledger, run, self.sent[run], "test")
        self.sent[run] = []

    def dies(self, run):
        """A run is taken for dead; a new one with the same bound takes its place."""
        with self.ledger.write() as db:
            one = schema.runs.c.id == run
            db.execute(schema.runs.update().where(one).values(host="elsewhere", heartbeat=0.0))
        calls.settle(self.ledger, self.id)
        place = self.runs.index(run)
        self.runs[place] = calls.start_run(self.ledger, self.id, 1000, self.bounds[place])
        late = self.sent.pop(run)
        self.made.pop(run)
        self.made[self.runs[place]], self.sent[self.runs[place]] = [], []
        calls.finish(self.ledger, run, late, [Answer({"logits": np.ones(3)}, tokens=0, cost=0)] * len(late))

    def resolve(self, charged, share, number):
        lost = accounts.listed(self.ledger, self.id, ["unknown"])[:number]
        for one in lost:
            cost = None if share is None else one["cost"] * share
            accounts.resolve(self.ledger, self.id, charged, cost, [one["id"]])

    def check(self):
        assert accounts.verify(self.ledger) == []
        with self.ledger.read() as db:
            live = db.execute(sa.select(schema.calls).where(schema.calls.c.state.in_(schema.LIVE))).all()
            runs = {row.id: row for row in db.execute(sa.select(schema.runs))}
            days = {row.day: (row.calls, row.tokens, row.cost) for row in db.execute(sa.select(schema.spending))}
            teacher = db.execute(sa.select(schema.teachers)).one()
        assert sums(live) == (teacher.spent, teacher.spent_tokens, teacher.spent_cost)
        for id, run in runs.items():
            counted = (run.spent, run.spent_tokens, run.spent_cost)
            assert sums([row for row in live if row.run_id == id]) == counted
            bound = Bound(run.budget, run.budget_tokens, run.budget_cost)
            assert within(counted, bound), (counted, bound)
        for day, counted in days.items():
            assert sums([row for row in live if self.day[row.id] == day]) == counted
        assert {self.day[row.id] for row in live} <= set(days)
        assert within(sums(live), self.caps.life)
        for first in {spending.period_start(day, self.caps.every) for day in days}:
            period = [row for row in live if spending.period_start(self.day[row.id], self.caps.every) == first]
            assert within(sums(period), self.caps.period)


def sums(rows) -> tuple[int, int, int]:
    return len(rows), sum(row.tokens for row in rows), sum(row.cost for row in rows)


def within(counted: tuple[int, int, int], bound: Bound) -> bool:
    most = [getattr(bound, unit) for unit in UNITS]
    return all(limit is None or one <= limit for one, limit in zip(counted, most, strict=True))


few, run = st.integers(0, 8), st.integers(0, 1)
share = st.sampled_from([0.0, 0.1, 0.5, 1.0])
bound = st.builds(
    Bound, st.none() | st.integers(0, 10), st.none() | st.integers(0, 200), st.none() | st.integers(0, 200)
)
reserving = st.tuples(
    st.just("reserve"),
    run,
    few,
    st.integers(0, 40),
    st.integers(0, 40),
    st.booleans(),
    st.booleans(),
    st.just(0) | st.integers(1, 20),
)
step = st.one_of(
    reserving,
    reserving,
    st.tuples(st.just("send"), run),
    st.tuples(st.just("send"), run),
    st.tuples(st.just("finish"), run, share, st.booleans()),
    st.tuples(st.just("refund"), run),
    st.tuples(st.just("abandon"), run),
    st.tuples(st.just("dies"), run),
    st.tuples(st.just("resolve"), st.booleans(), st.none() | share, st.integers(1, 4)),
    st.tuples(st.just("later"), st.integers(1, 20)),
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    caps=st.builds(Caps, bound, bound, st.sampled_from(["day", "week", "month"])),
    bounds=st.tuples(bound, bound),
    steps=st.lists(step, min_size=5, max_size=40),
)
def test_the_counters_equal_the_calls_and_no_bound_is_passed(new_place, monkeypatch, caps, bounds, steps):
    now = [NOON]
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now[0])
        patch.setenv("TUITION_LEDGER", new_place())
        books = Books(caps, list(bounds))
        for what, *how in steps:
            if what == "later":
                now[0] += how[0] * DAY
            elif what == "resolve":
                books.resolve(*how)
            else:
                getattr(books, what)(books.runs[how[0]], *how[1:])
            books.check()
        books.ledger.close()


def test_room_is_that_of_the_tightest_bound(new_place):
    ledger = open_ledger()
    caps = Caps(Bound(calls=9, cost=100), Bound(tokens=50), "week")
    id = accounts.open_account(ledger, "ab" * 32, "t", {}, caps)
    run = calls.start_run(ledger, id, 100, Bound(calls=7))
    with ledger.read() as db:

        def room(each, more=None):
            fit, words = spending.room(db, run, more, [each] * 20, time.time())
            return fit, words.partition(":")[0]

        assert room(Amount(1, 0, 0)) == (7, "teacher.cap.run")
        assert room(Amount(1, 10, 0)) == (5, "teacher.cap.period.tokens")
        assert room(Amount(1, 10, 30)) == (3, "teacher.cap.money")
        assert room(Amount(1, 0, 0), Caps(life=Bound(calls=2))) == (2, "teacher.cap")
        assert room(Amount(1, 51, 0)) == (0, "teacher.cap.period.tokens")
        uneven = [Amount(1, 0, 60), Amount(1, 0, 40), Amount(1, 0, 1), Amount(1)]
        fit, words = spending.room(db, run, None, uneven, time.time())
        assert (fit, words.rpartition(", ")[2]) == (2, "and a call may cost 1e-06")
        assert spending.room(db, run, None, uneven[:2], time.time()) == (2, "")
    ledger.close()


@pytest.mark.parametrize(
    ("at", "every", "first"),
    [
        ("2024-10-04", "day", "2024-10-04"),
        ("2024-10-04", "week", "2024-09-30"),
        ("2024-09-30", "week", "2024-09-30"),
        ("2024-10-06", "week", "2024-09-30"),
        ("2024-10-04", "month", "2024-10-01"),
        ("2024-02-29", "month", "2024-02-01"),
        ("2025-01-01", "week", "2024-12-30"),
        ("1970-01-01", "week", "1969-12-29"),
    ],
)
def test_periods_begin_at_midnight_utc_and_weeks_on_monday(at, every, first):
    def day(text):
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() // DAY)

    assert spending.period_start(day(at), every) == day(first)


@pytest.mark.parametrize(
    ("behind", "told"), [(0, False), (spending.SKEW, False), (spending.SKEW + 1, True), (5 * DAY, True)]
)
def test_a_clock_behind_the_last_booking_is_told(new_place, monkeypatch, behind, told):
    midnight = 20_000 * DAY
    monkeypatch.setattr(time, "time", lambda: float(midnight))
    ledger = open_ledger()
    caps = Caps(period=Bound(calls=6))
    id = accounts.open_account(ledger, "ab" * 32, "t", {}, caps)
    run = calls.start_run(ledger, id, 100)
    calls.reserve(ledger, run, REQUESTS[:4])
    monkeypatch.setattr(time, "time", lambda: float(midnight - behind))
    if told:
        with pytest.raises(UserError, match="the clock says"):
            calls.reserve(ledger, run, REQUESTS[4:6])
    else:
        assert len(calls.reserve(ledger, run, REQUESTS[4:6])) == 2
        with pytest.raises(CapReached, match="6 calls spent of 6 this day"):  # what the fastest clock booked counts
            calls.reserve(ledger, run, REQUESTS[6:7])
    ledger.close()


@pytest.mark.parametrize(
    ("money", "micros"),
    [(0, 0), (0.1, 100_000), (0.3, 300_000), (1e-9, 1), (0.0000015, 2), (0.1 + 0.2, 300_001), (1e9, 10**15)],
)
def test_money_is_whole_millionths_rounded_up(money, micros):
    assert spending.to_micros(money) == micros


def test_caps_are_read_as_they_were_written():
    caps = Caps(Bound(1, None, 3), Bound(None, 5), "month")
    assert spending.from_json(spending.to_json(caps)) == caps
    assert spending.from_json("{}") == Caps()
    assert not Bound()
    assert Bound(calls=0)


def test_of_two_processes_that_resend_the_same_calls_one_has_them(new_place):
    ledger = open_ledger()
    id = accounts.open_account(ledger, "ab" * 32, "t", {}, None)
    first, second = calls.start_run(ledger, id, 10), calls.start_run(ledger, id, 10)
    made = calls.reserve(ledger, first, REQUESTS[:3], cost=5)
    calls.mark_sent(ledger, first, made)
    calls.abandon(ledger, first, made, "lost")
    again = calls.reserve(ledger, second, REQUESTS[:3], cost=5, resend=True)
    assert [call.key for call in again] == [call.key for call in made]
    assert calls.reserve(ledger, first, REQUESTS[:3], cost=5, resend=True) == []
    with pytest.raises(UserError, match="no longer this run's"):
        calls.mark_sent(ledger, first, made)
    with ledger.read() as db:
        spent = dict(db.execute(sa.select(schema.runs.c.id, schema.runs.c.spent_cost)).all())
    assert spent == {first: 0, second: 15}
    ledger.close()

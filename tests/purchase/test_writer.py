"""The writer: what many requests tell it at once is written together, and what cannot be written takes nothing else with it."""

import asyncio
import threading

import numpy as np
import pytest
import sqlalchemy as sa

from tuition.errors import UserError
from tuition.ledger import accounts, calls, owned, schema
from tuition.ledger.calls import Answer
from tuition.ledger.database import LedgerWaits, open_ledger
from tuition.ledger.keys import Request
from tuition.purchase import writer as writing
from tuition.purchase.writer import Writer, to_the_end

REQUESTS = [Request(f"{i:064x}") for i in range(60)]
GOOD = Answer({"logits": np.ones(3, np.float32)}, tokens=2, cost=10)


class Desk:
    """A ledger with so many calls reserved, and a writer for them. `written` counts the transactions of each kind."""

    def __init__(self, number: int, monkeypatch):
        self.ledger = open_ledger()
        self.id = accounts.open_account(self.ledger, "ab" * 32, "t", {}, None)
        self.run = calls.start_run(self.ledger, self.id, 100)
        self.made = calls.reserve(self.ledger, self.run, REQUESTS[:number], tokens=5, cost=20)
        self.writer = Writer(self.ledger, self.run)
        self.written: dict[str, list[int]] = {}
        self.gate = threading.Event()
        self.gate.set()
        for name in ("mark_sent", "finish", "refund", "abandon"):
            monkeypatch.setattr(calls, name, self._counted(name, getattr(calls, name)))

    def _counted(self, name, real):
        def counted(ledger, run, made, *more):
            self.gate.wait(10)
            self.written.setdefault(name, []).append(len(made))
            return real(ledger, run, made, *more)

        return counted

    def states(self) -> dict[str, int]:
        found = accounts.status(self.ledger)[0]["calls"]
        return {state: number for state, number in found.items() if number}


@pytest.fixture
def desk(monkeypatch):
    desk = Desk(40, monkeypatch)
    yield desk
    assert accounts.verify(desk.ledger) == []
    desk.ledger.close()


def test_what_comes_meanwhile_is_written_together(desk):
    async def run():
        async with desk.writer as writer:
            desk.gate.clear()
            first = asyncio.create_task(writer.sent(desk.made[:1]))
            await asyncio.sleep(0.05)  # it is at the gate
            others = [asyncio.create_task(writer.sent([call])) for call in desk.made[1:]]
            await asyncio.sleep(0)
            desk.gate.set()
            await asyncio.gather(first, *others)
            await asyncio.gather(
                *(writer.done([call], [GOOD]) for call in desk.made[:30]),
                *(writer.lose([call], "a" if i % 2 else "b") for i, call in enumerate(desk.made[30:36])),
                writer.refund(desk.made[36:], "c"),
                writer.refund([], "nothing"),
            )

    asyncio.run(run())
    assert desk.written == {"mark_sent": [1, 39], "finish": [30], "refund": [4], "abandon": [3, 3]}
    assert desk.states() == {"done": 30, "unknown": 6, "refunded": 4}


def test_an_entry_that_cannot_be_written_fails_alone(desk):
    bad = Answer({}, malformed="why", raw="no bytes", tokens=1, cost=1)

    async def run():
        async with desk.writer as writer:
            await writer.sent(desk.made)
            told = [writer.done([call], [bad if i == 3 else GOOD]) for i, call in enumerate(desk.made[:8])]
            return await asyncio.gather(*told, return_exceptions=True)

    outcomes = asyncio.run(run())
    assert [type(one) is not type(None) for one in outcomes] == [i == 3 for i in range(8)]
    assert list(owned.standing(desk.ledger, desk.id, REQUESTS[:8]).states(REQUESTS[:8]).values()).count("owned") == 7
    assert desk.written["finish"] == [8] + [1] * 8


def test_a_lost_lease_stops_its_own_calls_alone(desk):
    with desk.ledger.write() as db:
        mine = schema.calls.c.id == desk.made[2].id
        db.execute(schema.calls.update().where(mine).values(run_id=None))

    async def run():
        async with desk.writer as writer:
            told = [writer.sent(desk.made[i : i + 2]) for i in range(0, 8, 2)]
            return await asyncio.gather(*told, return_exceptions=True)

    outcomes = asyncio.run(run())
    assert [isinstance(one, UserError) for one in outcomes] == [False, True, False, False]
    with desk.ledger.read() as db:
        sent = db.scalars(sa.select(schema.calls.c.id).where(schema.calls.c.state == "sent")).all()
    assert sorted(sent) == [desk.made[i].id for i in (0, 1, 4, 5, 6, 7)]


def test_a_ledger_that_stays_locked_is_told_to_all_and_is_not_tried_for_each(desk, monkeypatch):
    monkeypatch.setattr(writing, "HOLD_ANSWERS_SECONDS", 0.3)
    monkeypatch.setattr(writing, "HOLD_PAUSE", 0.1)
    tries = []

    def locked(*args):
        tries.append(args)
        raise LedgerWaits("locked")

    async def run():
        async with desk.writer as writer:
            await writer.sent(desk.made)
            monkeypatch.setattr(calls, "finish", locked)
            told = [writer.done([call], [GOOD]) for call in desk.made]
            return await asyncio.gather(*told, return_exceptions=True)

    assert all(isinstance(one, LedgerWaits) for one in asyncio.run(run()))
    assert 2 <= len(tries) <= 5


def test_a_transaction_has_so_many_calls_and_no_more(desk, monkeypatch):
    monkeypatch.setattr(writing, "MOST_CALLS", 10)

    async def run():
        async with desk.writer as one:
            await asyncio.gather(*(one.sent(desk.made[i : i + 4]) for i in range(0, 40, 4)))
            await one.done(desk.made[:20], [GOOD] * 20)  # a request is not divided
            await one.refund(desk.made[20:], "test")

    asyncio.run(run())
    assert desk.written == {"mark_sent": [8] * 5, "finish": [20], "refund": [20]}
    assert desk.states() == {"done": 20, "refunded": 20}


def test_who_is_cancelled_still_has_it_written(desk):
    async def run():
        async with desk.writer as writer:
            await writer.sent(desk.made)
            desk.gate.clear()
            told = [asyncio.create_task(writer.done([call], [GOOD])) for call in desk.made]
            await asyncio.sleep(0.05)
            for task in told:
                task.cancel()
            await asyncio.wait(told)
            asyncio.get_running_loop().call_later(0.1, desk.gate.set)
        assert desk.states() == {"done": 40}  # at the latest when the writer leaves

    asyncio.run(run())


def test_a_writer_that_is_cancelled_as_it_leaves_writes_to_the_end(desk):
    async def run():
        async with desk.writer as writer:
            await writer.sent(desk.made)
            desk.gate.clear()
            for call in desk.made:
                asyncio.create_task(writer.done([call], [GOOD]))  # noqa: RUF006
            await asyncio.sleep(0.05)

    async def cancelled():
        task = asyncio.create_task(run())
        await asyncio.sleep(0.3)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
        desk.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert desk.states() == {"done": 40}


def test_text_that_no_database_takes(desk):
    async def run():
        async with desk.writer as writer:
            await writer.sent(desk.made)
            await writer.lose(desk.made[:20], "half a character: \ud800")
            await writer.refund(desk.made[20:], "\udfff" * 1000)

    asyncio.run(run())
    assert desk.states() == {"unknown": 20, "refunded": 20}


@pytest.mark.parametrize("times", [0, 1, 5])
def test_to_the_end(times):
    steps = []

    async def work():
        for i in range(10):
            steps.append(i)
            await asyncio.sleep(0.01)
        return "result"

    async def run():
        task = asyncio.create_task(to_the_end(work()))
        for _ in range(times):
            await asyncio.sleep(0.005)
            task.cancel()
        if times:
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await task == "result"

    asyncio.run(run())
    assert steps == list(range(10))


def test_to_the_end_of_what_fails():
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        asyncio.run(to_the_end(fails()))

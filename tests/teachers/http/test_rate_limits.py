"""Rate limits in simulated time: no window above what is stated whatever comes when, the stated rate reached, and nobody forgotten."""

import asyncio
import itertools
import selectors
from collections.abc import Coroutine

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuition.errors import UserError
from tuition.teachers.http.rate_limits import CATCH_UP, PACE, RateLimit


class Simulated(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it; `late` seconds behind it, as real ones are."""

    def __init__(self, late: float = 0.0):
        super().__init__(selectors.SelectSelector())
        self.now, real = 0.0, self._selector.select

        def select(timeout=None):
            if timeout:
                self.now += timeout + late
            return real(0)

        self._selector.select = select

    def time(self) -> float:
        return self.now


def run(main: Coroutine, loop: Simulated):
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def most(sent: list[tuple[float, int]], window: float) -> int:
    """The largest sum of amounts over closed windows of this length."""
    return max((sum(n for at, n in sent if start <= at <= start + window) for start, _ in sent), default=0)


async def drive(limit: RateLimit, loop: Simulated, arrivals: list[tuple[float, int, int, float]]) -> tuple[list, list]:
    """Each of `arrivals` (at, tokens reserved, tokens used, latency) takes its turn; returns when each was sent and (when, tokens used)."""
    sent, used = [], []

    async def one(at: float, tokens: int, real: int, latency: float) -> None:
        await asyncio.sleep(at)
        turn = await limit.take(tokens)
        now = loop.time()
        sent.append((now, 1))
        await asyncio.sleep(latency)
        limit.settle(turn, real)
        used.append((now, real))

    await asyncio.gather(*(one(*arrival) for arrival in arrivals))
    return sent, used


AMOUNTS = st.tuples(st.integers(0, 40), st.floats(0, 1)).map(lambda pair: (pair[0], int(pair[0] * pair[1])))
ARRIVALS = st.lists(
    st.tuples(st.floats(0, 200), AMOUNTS, st.floats(0, 30)).map(lambda one: (one[0], *one[1], one[2])), max_size=60
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    arrivals=ARRIVALS,
    requests=st.none() | st.integers(1, 12),
    tokens=st.none() | st.integers(40, 200),
    window=st.sampled_from([60.0, 2.0]),
    late=st.sampled_from([0.0, 0.003]),
)
def test_no_window_is_exceeded(arrivals, requests, tokens, window, late):
    """Also not with 2 % of a window's jitter on the way, and everyone is served."""
    loop = Simulated(late)
    limit = RateLimit(requests, tokens, window, clock=loop.time)
    sent, used = run(drive(limit, loop, arrivals), loop)
    assert len(sent) == len(arrivals)
    if requests is not None:
        assert most(sent, 1.02 * window) <= requests
    if tokens is not None:
        assert most(used, 1.02 * window) <= tokens


@pytest.mark.parametrize("late", [0.0, 0.002])
@pytest.mark.parametrize("rate", [1, 7, 60, 600, 6000])
def test_the_stated_rate_is_reached(rate, late):
    """All come at once, and three windows are measured behind the first; timers are late as those of a busy machine."""
    loop = Simulated(late)
    limit = RateLimit(rate, window=60.0, clock=loop.time)
    sent, _ = run(drive(limit, loop, [(0.0, 0, 0, 0.0)] * (rate * 4 + 1)), loop)
    times = [at for at, _ in sent]
    reached = 3 * rate / (times[-1] - times[rate])
    assert 0.95 * rate / 60 <= reached <= rate / 60


def test_the_stated_tokens_are_reached_where_less_is_used_than_reserved():
    """8 at a time reserve 100 and use 10 of them, after 1 s; the limit is 3000 a minute, and 8 × 90 of it are held back at most."""
    loop = Simulated()
    limit = RateLimit(None, 3000, window=60.0, clock=loop.time)
    used: list[tuple[float, int]] = []

    async def worker() -> None:
        while loop.time() < 600:
            turn = await limit.take(100)
            now = loop.time()
            await asyncio.sleep(1)
            limit.settle(turn, 10)
            used.append((now, 10))

    async def main() -> None:
        await asyncio.gather(*(worker() for _ in range(8)))

    run(main(), loop)
    behind = [real for at, real in used if 60 <= at < 600]
    assert sum(behind) / 9 >= (3000 - 8 * 90) / 1.04
    assert most(used, 60.0) <= 3000


def test_requests_come_evenly_from_the_start():
    loop = Simulated()
    limit = RateLimit(60, window=60.0, clock=loop.time)
    sent, _ = run(drive(limit, loop, [(0.0, 0, 0, 0.0)] * 200), loop)
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(sent)]
    assert min(gaps) >= PACE - CATCH_UP - 1e-6
    assert sent[59][0] >= 50  # a whole minute's requests are not sent at once


def test_first_come_first_served():
    loop = Simulated()
    limit = RateLimit(5, window=60.0, clock=loop.time)
    order: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number / 1000)
        await limit.take()
        order.append(number)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(20)))

    run(main(), loop)
    assert order == list(range(20))


@pytest.mark.parametrize("requests", [None, 600])
def test_a_pause_holds_everybody_and_the_longest_counts(requests):
    loop = Simulated()
    limit = RateLimit(requests, window=60.0, clock=loop.time)

    async def main() -> list[float]:
        await limit.take()
        limit.pause(30)
        limit.pause(10)
        waiting = [asyncio.create_task(limit.take()) for _ in range(3)]
        await asyncio.sleep(20)
        limit.pause(25)  # while they wait
        return [(await one).at for one in waiting]

    assert min(run(main(), loop)) >= 45


def test_who_stops_waiting_holds_up_nobody_and_counts_for_nothing():
    loop = Simulated()
    limit = RateLimit(1, window=60.0, clock=loop.time)

    async def main() -> float:
        await limit.take()
        waiting = [asyncio.create_task(limit.take()) for _ in range(5)]
        last = asyncio.create_task(limit.take())
        await asyncio.sleep(1)
        for one in waiting:
            one.cancel()
        return (await last).at

    assert run(main(), loop) == pytest.approx(61.8, abs=0.1)


def test_tokens_given_back_let_the_next_go():
    loop = Simulated()
    limit = RateLimit(None, 100, window=60.0, clock=loop.time)

    async def main() -> tuple[float, float]:
        first = await limit.take(90)
        waiting = asyncio.create_task(limit.take(50))
        await asyncio.sleep(2)
        assert not waiting.done()
        limit.settle(first, 5)
        second = await waiting
        limit.settle(second, 95)  # more than reserved: it counts
        return second.at, (await limit.take(1)).at

    second, third = run(main(), loop)
    assert second < 5
    assert third == pytest.approx(61.8, abs=0.1)  # 95 + 5 are used until the first one's 5 leave the window


def test_settling_what_has_left_the_window_changes_nothing():
    loop = Simulated()
    limit = RateLimit(None, 100, window=60.0, clock=loop.time)

    async def main() -> tuple[float, float]:
        old = await limit.take(100)
        await limit.take(100)
        limit.settle(old, 0)
        before = loop.time()
        return before, (await limit.take(100)).at

    before, after = run(main(), loop)
    assert after - before >= 60


def test_unlimited_costs_nothing_and_one_that_never_fits_is_refused():
    loop = Simulated()

    async def main() -> None:
        free = RateLimit(clock=loop.time)
        for _ in range(1000):
            await free.take(10**9)
        with pytest.raises(UserError, match=r"teacher\.tokens_per_minute: found 10"):
            await RateLimit(None, 10, clock=loop.time).take(11)

    run(main(), loop)
    assert loop.time() == 0

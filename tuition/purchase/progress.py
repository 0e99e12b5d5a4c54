"""A progress line: how many, how fast, how long still, what it cost and what is left."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tuition.ledger import accounts
from tuition.ledger.spending import Bound
from tuition.purchase.account import Account
from tuition.purchase.buy import Progress as Told
from tuition.purchase.buy import Tally

LINE_SECONDS = 30  # between lines where there is no terminal


@contextmanager
def bar(title: str, account: Account) -> Iterator[Told]:
    """Yields `progress(tally, left)`: a moving line on a terminal, elsewhere a line now and then on stderr."""
    spent = accounts.find(account.ledger, account.fingerprint)
    life = account.caps.life
    console, began = Console(stderr=True), time.monotonic()
    last = began
    columns = (
        TextColumn("{task.description}", markup=False),  # a name in it may hold braces or brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bill]}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=not console.is_terminal, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(title, total=None, rate="", bill="")

        def progress(tally: Tally, left: int) -> None:
            nonlocal last
            now = time.monotonic()
            rate = tally.sent / max(now - began, 1e-9)
            words = bill(tally, life, spent.spent_tokens, spent.spent_cost)
            if console.is_terminal:
                speed = shown.tasks[task].speed
                shown.update(
                    task,
                    completed=tally.sent,
                    total=tally.sent + left,
                    rate=f"{speed:.0f}/s" if speed else "",
                    bill=words,
                )
            elif now - last > LINE_SECONDS and left:
                last = now
                print(
                    f"{title}: {tally.sent} of {tally.sent + left}, {rate:.1f}/s, {left / rate:.0f} s left{words and f'; {words}'}",
                    file=sys.stderr,
                    flush=True,
                )

        yield progress


def bill(tally: Tally, life: Bound, tokens_before: int, cost_before: int) -> str:
    """What this run came to, and what is left of the teacher's life: "3.2 spent, 6.8 left"; empty where nothing is paid."""
    words = []
    if tally.cost:
        left = "" if life.cost is None else f", {(life.cost - cost_before - tally.cost) / 1e6:g} left"
        words.append(f"{tally.cost / 1e6:g} spent{left}")
    if tally.tokens:
        left = "" if life.tokens is None else f", {life.tokens - tokens_before - tally.tokens} left"
        words.append(f"{tally.tokens} tokens{left}")
    if tally.bad:
        words.append(f"{tally.bad} not usable")
    return "; ".join(words)

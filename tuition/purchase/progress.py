"""A progress line: how many, how fast, how long still, what it cost and what is left."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Shown

from tuition.ledger import accounts
from tuition.ledger.spending import Bound
from tuition.purchase.account import Account
from tuition.purchase.tally import Progress, Tally

LINE_SECONDS = 30  # between lines where there is no terminal


@contextmanager
def bar(title: str, account: Account) -> Iterator[Progress]:
    """Yields what shows a tally: a moving line on a terminal, elsewhere a line now and then on stderr."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),  # a name in it may hold braces or brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bill]}", markup=False),
    )
    shown = Shown(*columns, console=console, transient=not console.is_terminal, disable=not console.is_terminal)
    line = _Line(title, account, shown)
    with shown:
        yield line.on_terminal if console.is_terminal else line.now_and_then


class _Line:
    """The progress of one purchase in words."""

    def __init__(self, title: str, account: Account, shown: Shown):
        self.title, self.shown, self.life = title, shown, account.caps.life
        self.before = accounts.find(account.ledger, account.fingerprint)
        self.began = self.last = time.monotonic()
        self.task = shown.add_task(title, total=None, rate="", bill="")

    def on_terminal(self, tally: Tally) -> None:
        """Move the line."""
        speed = self.shown.tasks[self.task].speed
        rate = f"{speed:.0f}/s" if speed else ""
        total = tally.sent + tally.left
        self.shown.update(self.task, completed=tally.sent, total=total, rate=rate, bill=self._bill(tally))

    def now_and_then(self, tally: Tally) -> None:
        """Print a line, where the last one is a while ago."""
        now = time.monotonic()
        if now - self.last <= LINE_SECONDS or not tally.left:
            return
        self.last = now
        rate, words = tally.sent / max(now - self.began, 1e-9), self._bill(tally)
        of_all = f"{tally.sent} of {tally.sent + tally.left}, {rate:.1f}/s, {tally.left / rate:.0f} s left"
        print(f"{self.title}: {of_all}{words and f'; {words}'}", file=sys.stderr, flush=True)

    def _bill(self, tally: Tally) -> str:
        return bill(tally, self.life, self.before.spent_tokens, self.before.spent_cost)


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

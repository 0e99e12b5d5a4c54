"""Buying: reserve, send, own, batch by batch, until every sample of the budget is owned or charged."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.ledger import calls, owned
from tuition.ledger.calls import CLEAN, Call
from tuition.ledger.database import Ledger, LedgerWaits
from tuition.ledger.spending import CapReached
from tuition.params.teacher import Teacher as Settings
from tuition.purchase.account import Account, worst
from tuition.purchase.answers import split
from tuition.teachers import InProcess, Refused

POLL_SECONDS = 0.5
HOLD_SECONDS = 600  # how long an answer that is in hand waits for the ledger
HOLD_PAUSE = 2  # seconds between two attempts
SPARE_BYTES = 4 << 20

ImagesOf = Callable[[Sequence[str]], np.ndarray]
Progress = Callable[[Any, int], None]  # (Tally, samples left)


def outstanding(account: Account, ids: Sequence[str], view: str = CLEAN) -> tuple[list[str], list[str]]:
    """(to be bought or sent again, in the hands of another process), both in the order of `ids`."""
    states = owned.states(account.ledger, account.id, ids, view)
    again = account.teacher.idempotent
    todo = [id for id in ids if id not in states or (again and states[id] == "unknown")]
    return todo, [id for id in ids if states.get(id) in ("reserved", "sent")]


class Tally:
    """What came of the calls so far, and when that is reason to stop."""

    def __init__(self, settings: Settings, asked: int):
        self.settings, self.asked = settings, asked
        self.sent = self.new = self.bad = 0
        self.fault = ""
        self.tokens = self.cost = 0  # of the answers; cost in millionths
        self.row_bytes = 1 << 16  # of one call's outputs, until the first answer tells

    @property
    def canary(self) -> bool:
        """Whether the calls that are sent now are among the first few, which must all be good."""
        return self.sent < self.settings.canary

    def measure(self, answers: Sequence[calls.Answer]) -> None:
        """Take down what answers came to, and how large they are."""
        self.row_bytes = max(sum(v.nbytes for v in a.signals.values()) for a in answers) or self.row_bytes
        self.tokens += sum(answer.tokens or 0 for answer in answers)
        self.cost += sum(answer.cost or 0 for answer in answers)

    def count(self, made: Sequence[Call], bad: int, fault: str | None) -> None:
        """Count sent calls, `bad` of them without an answer that can be used, for instance because of `fault`."""
        first = self.canary
        self.sent += len(made)
        self.new += sum(not call.again for call in made)
        self.bad += bad
        if bad and (first or self.bad > max(1, self.settings.max_malformed * self.asked)):
            raise UserError(
                f"teacher {self.settings.name!r}: {self.bad} of {self.sent} answers cannot be used ({fault}). They count as spent; what "
                "came is kept in the ledger (`tuition ledger calls --malformed`), and so is of which calls nothing came (`tuition ledger "
                "unknown`). No more calls are sent"
            )


def buy(
    account: Account,
    ids: Sequence[str],
    images_of: ImagesOf,
    progress: Progress,
    view: str = CLEAN,
    signals: Sequence[str] | None = None,
) -> int:
    """Own the outputs of `ids` (content ids in the order of purchase); returns how many new calls that took.

    All of the teacher's signals, or only `signals`, under a `view` of their own (`owned.further`).

    `images_of(ids)` gives (B, C, H, W) uint8. Sends `settings.canary` calls first and stops where one of them is malformed;
    stops later where the malformed exceed `settings.max_malformed`. Waits for samples that another process is buying.
    Raises UserError naming what was found, CapReached where a bound leaves no room; whatever was answered by then is owned.
    """
    ledger, teacher, settings, run = account.ledger, account.teacher, account.settings, account.run
    tally, most = Tally(settings, len(ids)), worst(settings)
    shapes: dict[str, tuple[int, ...]] = {}
    waiting = False
    while True:
        todo, elsewhere = outstanding(account, ids, view)
        if not todo and not elsewhere:
            return tally.new
        if not todo:  # another process has the rest: it finishes them, or dies and leaves them to us
            if not waiting:
                say_waiting(account, f"{len(elsewhere)} samples that are being bought")
                waiting = True
            time.sleep(POLL_SECONDS)
            calls.settle(ledger, account.id)
            continue
        while todo:
            size = min(settings.batch_size, settings.canary - tally.sent if tally.canary else len(todo))
            batch, todo = todo[:size], todo[size:]
            check_room(ledger, tally.row_bytes * len(batch))
            images = images_of(batch)  # read before the calls are reserved: a read error then costs nothing
            try:
                with ledger.write():
                    made = calls.reserve(
                        ledger,
                        run,
                        batch,
                        view=view,
                        resend=teacher.idempotent,
                        caps=account.caps,
                        tokens=most.tokens,
                        cost=most.cost,
                        partial=True,
                    )
                    if made:  # they leave at once
                        calls.mark_sent(ledger, run, made)
            except CapReached as reached:
                if not reached.waits:
                    raise
                if not waiting:
                    say_waiting(account, f"room ({reached}): some is held")
                    waiting = True
                time.sleep(POLL_SECONDS)  # calls of another process may be given back
                calls.settle(ledger, account.id)
                break
            if not made:
                continue
            if len(made) < len(batch):
                places = {id: place for place, id in enumerate(batch)}
                images = images[[places[call.sample] for call in made]]
            given = _ask(ledger, run, teacher, made, images)
            with _unbroken():  # these answers are paid for: Ctrl-C waits until they are owned
                answers = split(
                    given,
                    len(made),
                    signals or teacher.signals,
                    account.classes,
                    shapes,
                    settings.scores if tally.canary else None,
                )
                # Such a teacher says nothing of tokens: a call comes to the most that it may come to.
                answers = [
                    replace(one, malformed=one.malformed and plain(one.malformed), tokens=most.tokens, cost=most.cost)
                    for one in answers
                ]
                own(ledger, run, made, answers)
            tally.measure(answers)
            bad = [answer.malformed for answer in answers if answer.malformed]
            tally.count(made, len(bad), bad[0] if bad else None)
            progress(tally, len(todo))


def say_waiting(account: Account, what: str) -> None:
    held = ", ".join(calls.holders(account.ledger, account.id))
    say(f"waiting for {what} by {held or 'another process'}")


def say(text: str) -> None:
    """To the user, if anybody listens still."""
    with suppress(OSError, ValueError):
        print(text, flush=True)


def plain(text: str) -> str:
    """Text of a teacher, which may hold what no database takes: halves of characters."""
    return text.encode(errors="replace").decode()


def _ask(ledger: Ledger, run: int, teacher: InProcess, made: list[Call], images: np.ndarray) -> dict[str, Any]:
    try:
        return teacher.answer_now(images, [call.key for call in made])
    except Refused as error:
        calls.refund(ledger, run, made, plain(f"refused: {error}"[:500]))
        raise UserError(
            f"teacher refused {len(made)} calls ({error}); they are refunded, but for those that were sent before and whose fate "
            "is unknown. Run again later"
        ) from error
    except Exception as error:
        calls.abandon(ledger, run, made, plain(f"{type(error).__name__}: {error}"[:500]))
        raise UserError(
            f"teacher failed on {len(made)} calls with {type(error).__name__}: {error}. Whether they were charged is not known: "
            "they count as spent until `tuition ledger resolve`"
        ) from error
    except BaseException as error:  # Ctrl-C or sys.exit: a process that lives on must not hold these calls for ever
        calls.abandon(ledger, run, made, f"{type(error).__name__} in the teacher")
        if isinstance(error, SystemExit):
            raise UserError(
                f"teacher ended the process (sys.exit({error.code})) on {len(made)} calls: they count as spent"
            ) from error
        raise


@contextmanager
def _unbroken() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM until the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # only there do they arrive, or can they be put off
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt if came[0] == signal.SIGINT else SystemExit(128 + came[0])


def own(ledger: Ledger, run: int, made: Sequence[Call], answers: Sequence[calls.Answer]) -> None:
    """Commit the answers; where the ledger cannot be written just now, hold them and try again: they are paid for."""
    hold(lambda: calls.finish(ledger, run, made, answers), f"{len(made)} paid answers", HOLD_SECONDS)


def hold(write: Callable[[], None], what: str, seconds: float) -> None:
    """Write to the ledger; where it cannot be written just now, try again for so long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return write()
        except LedgerWaits as error:
            left = deadline - time.monotonic()
            if left < 0:
                raise
            say(f"{error}. Holding {what} for {left:.0f} s more")
            time.sleep(HOLD_PAUSE)


def check_room(ledger: Ledger, payload: int) -> None:
    """Refuse to send what could not be stored: three times the payload, for the outputs, their log and the index."""
    path = Path(ledger.place)
    if not path.exists():  # a database server
        return
    free, needed = shutil.disk_usage(path.parent).free, 3 * payload + SPARE_BYTES
    if free < needed:
        raise UserError(
            f"ledger {path}: {free >> 20} MiB of disk left there, {(needed >> 20) + 1} needed for the next answers; nothing was sent"
        )

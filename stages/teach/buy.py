"""Buying: reserve, send, own, batch by batch, until every sample of the budget is owned or charged."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import UserError
from stages.ledger import calls, owned
from stages.ledger.calls import CLEAN, Call
from stages.ledger.database import Ledger, LedgerWaits
from stages.teach.answers import split
from stages.teach.teachers import Refused, Teacher

POLL_SECONDS = 0.5
HOLD_SECONDS = 600  # how long an answer that is in hand waits for the ledger
SPARE_BYTES = 4 << 20


def outstanding(
    ledger: Ledger, teacher_id: int, teacher: Teacher, ids: Sequence[str], view: str = CLEAN
) -> tuple[list[str], list[str]]:
    """(to be bought or sent again, in the hands of another process), both in the order of `ids`."""
    states = owned.states(ledger, teacher_id, ids, view)
    todo = [id for id in ids if id not in states or (teacher.idempotent and states[id] == "unknown")]
    return todo, [id for id in ids if states.get(id) in ("reserved", "sent")]


def buy(
    ledger: Ledger,
    teacher_id: int,
    teacher: Teacher,
    ids: Sequence[str],
    images_of: Callable[[Sequence[str]], np.ndarray],
    settings: Any,
    classes: int,
    progress: Callable[[int, int], None] = lambda bought, left: None,
    view: str = CLEAN,
    signals: Sequence[str] | None = None,
) -> int:
    """Own the outputs of `ids` (content ids in the order of purchase); returns how many new calls that took.

    All of the teacher's signals, or only `signals`, under a `view` of their own (`owned.further`).

    `images_of(ids)` gives (B, C, H, W) uint8. Sends `settings.canary` calls first and stops where one of them is malformed;
    stops later where the malformed exceed `settings.max_malformed`. Waits for samples that another process is buying.
    Raises UserError naming what was found; whatever was answered by then is owned.
    """
    run = calls.start_run(ledger, teacher_id, budget=len(ids))
    sent = new = malformed = 0
    waiting = False
    shapes: dict[str, tuple[int, ...]] = {}
    row_bytes = 1 << 16  # of one call's outputs, until the first answer tells
    while True:
        todo, elsewhere = outstanding(ledger, teacher_id, teacher, ids, view)
        if not todo and not elsewhere:
            return new
        if not todo:  # another process has the rest: it finishes them, or dies and leaves them to us
            if not waiting:
                held = ", ".join(calls.holders(ledger, teacher_id))
                print(
                    f"waiting for {len(elsewhere)} samples that are being bought by {held or 'another process'}",
                    flush=True,
                )
                waiting = True
            time.sleep(POLL_SECONDS)
            calls.settle(ledger, teacher_id)
            continue
        while todo:
            left = settings.canary - sent if sent < settings.canary else len(todo)
            size = min(settings.batch_size, left)
            batch, todo = todo[:size], todo[size:]
            _check_room(ledger, row_bytes * len(batch))
            images = images_of(batch)  # read before the calls are reserved: a read error then costs nothing
            made = calls.reserve(ledger, run, batch, view=view, resend=teacher.idempotent, cap=settings.cap)
            if not made:
                continue
            if len(made) < len(batch):
                images = images_of([call.sample for call in made])
            given = _ask(ledger, run, teacher, made, images)
            with _unbroken():  # these answers are paid for: Ctrl-C waits until they are owned
                answers = split(given, len(made), signals or teacher.signals, classes, shapes)
                _own(ledger, run, made, answers, settings.price)
            bad = [answer.malformed for answer in answers if answer.malformed]
            malformed += len(bad)
            row_bytes = max(sum(v.nbytes for v in a.signals.values()) for a in answers) or row_bytes
            first, sent = sent < settings.canary, sent + len(made)
            new += sum(not call.again for call in made)
            progress(sent, len(todo))
            if bad and (first or malformed > max(1, settings.max_malformed * len(ids))):
                raise UserError(
                    f"teacher {settings.name!r}: {malformed} of {sent} answers are malformed ({bad[0]}). They are charged and kept "
                    "in the ledger for inspection; no more calls are sent"
                )


def _ask(ledger: Ledger, run: int, teacher: Teacher, made: list[Call], images: np.ndarray) -> dict[str, Any]:
    calls.mark_sent(ledger, run, made)
    try:
        return teacher.answer(images, [call.key for call in made])
    except Refused as error:
        calls.refund(ledger, run, made, f"refused: {error}")
        raise UserError(
            f"teacher refused {len(made)} calls ({error}); they are refunded, but for those that were sent before and whose fate "
            "is unknown. Run again later"
        ) from error
    except Exception as error:
        calls.abandon(ledger, run, made, f"{type(error).__name__}: {error}"[:500])
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


def _own(ledger: Ledger, run: int, made: list[Call], answers: list[calls.Answer], price: float) -> None:
    """Commit the answers; where the ledger cannot be written just now, hold them and try again: they are paid for."""
    deadline = time.monotonic() + HOLD_SECONDS
    while True:
        try:
            return calls.finish(ledger, run, made, answers, price)
        except LedgerWaits as error:
            if time.monotonic() > deadline:
                raise
            print(f"{error}. Holding {len(made)} paid answers for {deadline - time.monotonic():.0f} s more", flush=True)
            time.sleep(2)


def _check_room(ledger: Ledger, payload: int) -> None:
    """Refuse to send what could not be stored: three times the payload, for the outputs, their log and the index."""
    path = Path(ledger.place)
    if not path.exists():  # a database server
        return
    free, needed = shutil.disk_usage(path.parent).free, 3 * payload + SPARE_BYTES
    if free < needed:
        raise UserError(
            f"ledger {path}: {free >> 20} MiB of disk left there, {(needed >> 20) + 1} needed for the next answers; nothing was sent"
        )

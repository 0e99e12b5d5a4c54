"""Buying: reserve, send, own, batch by batch, until every sample of the budget is owned or charged."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import UserError
from stages.ledger import calls, owned
from stages.ledger.calls import Call
from stages.ledger.database import Ledger, LedgerError
from stages.teach.answers import split
from stages.teach.teachers import Refused, Teacher

POLL_SECONDS = 0.5
FULL_DISK_SECONDS = 60  # how long an answer that is in hand waits for disk space
SPARE_BYTES = 4 << 20


def outstanding(ledger: Ledger, teacher_id: int, teacher: Teacher, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """(to be bought or sent again, in the hands of another process), both in the order of `ids`."""
    states = owned.states(ledger, teacher_id, ids)
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
) -> int:
    """Own the outputs of `ids` (content ids in the order of purchase); returns how many calls were sent.

    `images_of(ids)` gives (B, C, H, W) uint8. Sends `settings.canary` calls first and stops where one of them is malformed;
    stops later where the malformed exceed `settings.max_malformed`. Waits for samples that another process is buying.
    Raises UserError naming what was found; whatever was answered by then is owned.
    """
    run = calls.start_run(ledger, teacher_id, budget=len(ids))
    sent = malformed = 0
    row_bytes = 1 << 16  # of one call's outputs, until the first answer tells
    while True:
        todo, elsewhere = outstanding(ledger, teacher_id, teacher, ids)
        if not todo and not elsewhere:
            return sent
        if not todo:  # another process has the rest: it finishes them, or dies and leaves them to us
            time.sleep(POLL_SECONDS)
            calls.settle(ledger, teacher_id)
            continue
        size = settings.canary if sent == 0 else settings.batch_size
        while todo:
            batch, todo = todo[:size], todo[size:]
            _check_room(ledger, row_bytes * len(batch))
            images = images_of(batch)  # read before the calls are reserved: a read error then costs nothing
            made = calls.reserve(ledger, run, batch, resend=teacher.idempotent)
            if not made:
                continue
            if len(made) < len(batch):
                images = images_of([call.sample for call in made])
            answers = _ask(ledger, run, teacher, made, images, classes)
            _own(ledger, run, made, answers, settings.price)
            bad = [answer.malformed for answer in answers if answer.malformed]
            malformed += len(bad)
            row_bytes = max(sum(v.nbytes for v in a.signals.values()) for a in answers) or row_bytes
            first, sent = sent == 0, sent + len(made)
            progress(sent, len(todo))
            if bad and (first or malformed > settings.max_malformed * sent):
                raise UserError(
                    f"teacher {settings.name!r}: {malformed} of {sent} answers are malformed ({bad[0]}). They are charged and kept "
                    "in the ledger for inspection; no more calls are sent"
                )
            size = settings.batch_size


def _ask(
    ledger: Ledger, run: int, teacher: Teacher, made: list[Call], images: np.ndarray, classes: int
) -> list[calls.Answer]:
    calls.mark_sent(ledger, run, made)
    try:
        given = teacher.answer(images, [call.key for call in made])
    except Refused as error:
        calls.refund(ledger, run, made, f"refused: {error}")
        raise UserError(f"teacher refused {len(made)} calls ({error}); they are refunded. Run again later") from error
    except Exception as error:
        calls.abandon(ledger, run, made, f"{type(error).__name__}: {error}"[:500])
        raise UserError(
            f"teacher failed on {len(made)} calls with {type(error).__name__}: {error}. Whether they were charged is not known: "
            "they count as spent until `tuition ledger resolve`"
        ) from error
    return split(given, len(made), teacher.signals, classes)


def _own(ledger: Ledger, run: int, made: list[Call], answers: list[calls.Answer], price: float) -> None:
    """Commit the answers; with a full disk, hold them and try again while there is hope: they are paid for."""
    deadline = time.monotonic() + FULL_DISK_SECONDS
    while True:
        try:
            return calls.finish(ledger, run, made, answers, price)
        except LedgerError as error:
            if "Free disk space" not in str(error) or time.monotonic() > deadline:
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

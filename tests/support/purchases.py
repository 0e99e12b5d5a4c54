"""A purchase from the loopback teacher: samples whose answers are known, an account, and what its ledger says of it afterwards.

As a program (`python purchases.py URL 10 '{"count": 40, …}'`) it is a process that buys, and ends as a stage does.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from support import ROOT
from support.loopback import Server
from support.plain import Plain, settings
from tuition.errors import run
from tuition.ledger import accounts, owned, schema
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request, key_of
from tuition.ledger.spending import DAY
from tuition.params.teacher import FunctionSettings
from tuition.purchase import account, loop
from tuition.purchase.account import Known
from tuition.purchase.own import own
from tuition.teachers import InProcess
from tuition.teachers.function import FunctionTeacher
from tuition.teachers.http.teacher import HttpTeacher


class Shop:
    """`count` samples, and a teacher with these settings. Its images are 8×8 pixels of noise, other ones for each `seed`."""

    def __init__(
        self,
        server: Server | str,
        count: int = 40,
        seed: int = 0,
        format: Plain | None = None,
        budget: int | None = None,
        **more,
    ):
        images = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
        self.image = {Request(hashlib.sha256(one.tobytes()).hexdigest()): one for one in images}
        self.settings = settings(server, **more)
        self.ledger = open_ledger()
        teacher = HttpTeacher(format or Plain(), self.settings)
        most = budget or 2 * count
        self.account = account.open_account(self.ledger, teacher, self.settings, 10, most)

    def asks(self, function: Callable, known: Known | None = None, **more) -> None:
        """From now on it is a function that is asked, as kind `python` does, and no server.

        `known`: classes and labels of the samples; `more`: settings that no server has, or in place of the server's.
        """
        taken = {
            key: getattr(self.settings, key)
            for key in self.settings.model_fields_set & set(FunctionSettings.model_fields)
        }
        self.settings = FunctionSettings(**taken | more | {"kind": "python", "function": "mine:answer"})
        settings = self.settings
        known = known or Known()
        teacher = InProcess(
            FunctionTeacher(function, settings, known.classes),
            settings.max_in_flight,
            settings.patience,
            settings.retry,
        )
        classes = len(known.classes) or self.account.classes
        self.account = replace(self.account, teacher=teacher, settings=settings, known=known, classes=classes)

    @property
    def requests(self) -> list[Request]:
        """What is bought, in the order of purchase."""
        return list(self.image)

    def images_of(self, requests: Sequence[Request]) -> np.ndarray:
        return np.stack([self.image[one] for one in requests])

    def standing(self) -> owned.Standing:
        return owned.standing(self.ledger, self.account.id, self.requests)

    def buy(self) -> int:
        """Buy as the stage does; returns how many new calls that took."""
        return own(self.account, self.requests, self.standing(), self.images_of, "test")

    @property
    def calls(self) -> dict[str, int]:
        """How many calls are in which state; states without one are left out."""
        return {state: number for state, number in self.status["calls"].items() if number}

    @property
    def status(self) -> dict:
        return accounts.status(self.ledger)[0]

    def states(self) -> dict[Request, str]:
        return self.standing().states(self.requests)

    def key(self, request: Request) -> str:
        return key_of(self.account.fingerprint, request)

    def owned(self) -> list[Request]:
        """The requests that are owned; fails where one has another answer than its own."""
        places, signals, _ = owned.read(self.ledger, self.account.id, self.requests)
        mine = [self.requests[i] for i in places]
        if mine:
            right = [[self.image[one].sum(), *(int(d, 16) for d in self.key(one)[:9])] for one in mine]
            np.testing.assert_array_equal(signals["logits"], np.array(right, dtype=np.float32))
        return mine

    def spent(self, table: sa.Table = schema.teachers) -> tuple[int, int, int]:
        """(calls, tokens, millionths) that are counted: in the teacher's life, of all runs or of all days."""
        names = ("calls", "tokens", "cost") if table is schema.spending else ("spent", "spent_tokens", "spent_cost")
        with self.ledger.read() as db:
            found = db.execute(sa.select(*(sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in names))).one()
        return tuple(int(one) for one in found)  # type: ignore[return-value]

    def check(self) -> None:
        """The books are right, by life, by run and by day, and nobody holds a call."""
        assert accounts.verify(self.ledger) == []
        assert self.status["calls"]["reserved"] == 0
        assert self.spent(schema.runs) == self.spent(schema.spending) == self.spent()

    def by_day(self) -> dict[int, tuple[int, int, int]]:
        """(calls, tokens, millionths) by days since today."""
        with self.ledger.read() as db:
            rows = db.execute(sa.select(schema.spending)).all()
        now = int(time.time() // DAY)
        return {row.day - now: (row.calls, row.tokens, row.cost) for row in rows}


def process(server: Server, grace: float = 10.0, **more) -> subprocess.Popen:
    """A process that buys as `Shop(server, **more).buy()` does, on the same ledger."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/teach")))
    command = [sys.executable, str(Path(__file__)), server.url, str(grace), json.dumps(more)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main(argv: list[str]) -> None:
    loop.GRACE_SECONDS = float(argv[1])
    shop = Shop(argv[0], **json.loads(argv[2]))
    print(shop.buy(), "new calls")


if __name__ == "__main__":
    run(main)

"""What the tests of a refresh share: an inbox of real digits, the stages in this process, and days that pass."""

import contextlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from support import PAID, bill, digits, module_of, write_params
from tuition.files import read_json


def fill(inbox: Path, first: int, last: int) -> None:
    """Lay real digits that no split holds into the inbox: those numbered `first` to `last`."""
    images, labels = digits(1000)
    for row in range(700 + first, 700 + last):
        (inbox / str(labels[row])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[row]).save(inbox / str(labels[row]) / f"{row}.png")


class Refreshing:
    """What the flow does, stage by stage, in this process."""

    def __init__(self, folder: Path, source: str):
        self.folder, self.inbox, self.source = folder, folder / "inbox", source

    def write(self, **changes) -> None:
        """params.yaml, as before any refresh."""
        own = {
            **PAID,
            "data.source": self.source,
            "refresh.inbox": "inbox",
            "refresh.allowance": 20,
            "teacher.canary": 2,
        }
        write_params(self.folder, own | changes)

    def run(self, name: str, *arguments: str) -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            import_module(f"{module_of(name)}.__main__").main(list(arguments))
        return said.getvalue()

    def take(self) -> dict:
        self.run("intake", "take")
        self.run("prepare")
        return read_json(Path("refresh/taken.json"))

    def plan(self, **options) -> dict:
        self.run("intake", "plan", *(f"--{key}={value}" for key, value in options.items()))
        return read_json(Path("refresh/plan.json"))

    def teach(self) -> None:
        self.run("teach", str(self.budget))

    @property
    def budget(self) -> int:
        from tuition import params

        (budget,) = params.load().study.budgets
        return budget

    def kill_in_teach(self, calls: int) -> None:
        """Start the purchase and kill -9 it once the teacher has received so many calls."""
        environment = {**os.environ, "DELAY": "0.2"}
        before = len(bill(self.folder))
        with subprocess.Popen([sys.executable, "-m", "stages.teach", str(self.budget)], env=environment) as buyer:
            until(lambda: len(bill(self.folder)) >= before + calls or buyer.poll() is not None)
            assert buyer.poll() is None
            buyer.send_signal(signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def days_pass(days: int = 1) -> None:
    """What the ledger has booked was booked so many days earlier."""
    with contextlib.closing(sqlite3.connect(os.environ["TUITION_LEDGER"])) as ledger, ledger:
        ledger.execute("UPDATE spending SET day = day - 1000000")
        ledger.execute("UPDATE spending SET day = day + ?", (1_000_000 - days,))
        ledger.execute("UPDATE calls SET reserved_at = reserved_at - ?", (86_400 * days,))


KILLER = """
import os, signal, sys
from importlib import import_module
at, count, real = int(sys.argv[1]), 0, os.replace
def replace(*arguments):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
os.replace = replace
import_module(f"{sys.argv[2]}.__main__").main(sys.argv[3:])
"""


def dies(at: int, name: str, *arguments: str) -> bool:
    """Run a stage that kills itself -9 before it replaces a file for the `at`-th time; whether it came to that."""
    command = [sys.executable, "-c", KILLER, str(at), module_of(name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def ids() -> list[str]:
    return [one.decode() for one in np.load("data/train/ids.npy").tolist()]

"""Commands that end with the flow, however it ends: each runs below a guard (`guard.py`), which ends its children's children too."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flows.local import guard

GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class Commands:
    """The commands of one flow run. `run` is called from many threads, `stop` from the one that ends the flow."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}  # what the commands find in theirs beside this process's
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until `stop`."""
        self._stop.wait(seconds)

    def run(self, command: list[str], line: Callable[[str], object], folder: Path | None = None) -> int:
        """Run `command` here or in `folder`, give each line of its stdout and stderr to `line` as it comes, return its exit status.

        After `stop` nothing is started any more, and the status is -15.
        """
        programs = str(Path(sys.executable).parent)  # `python` in dvc.yaml is this Python, activated or not
        environment = {
            **os.environ,
            **self.environment,
            "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",  # lines come while the stage runs, not when it ends
        }
        with self._lock:  # nothing starts between `stop` looking and `stop` ending what it saw
            if self.stopped:
                return -signal.SIGTERM
            process = subprocess.Popen(
                [sys.executable, guard.__file__, str(GRACE), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                process_group=0,
                cwd=folder,
            )
            self._running.add(process)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin, process.stdout:
                for text in process.stdout:
                    if text.strip():
                        line(text.rstrip())
                status = process.wait()
            return -signal.SIGTERM if self.stopped else status
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """End every running command and all its children: SIGTERM, and SIGKILL for what is left after `GRACE`."""
        with self._lock:
            self._stop.set()
            guards = list(self._running)
        try:
            for one in guards:
                one.terminate()
            for one in guards:
                one.wait(2 * GRACE + 5)
        finally:  # a guard that was killed itself, and a second Ctrl-C, spare none of a group
            for one in guards:
                with suppress(ProcessLookupError):
                    os.killpg(one.pid, signal.SIGKILL)

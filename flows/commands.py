"""Commands that end with the flow: each is a process group of its own, so that ending it ends its children's children too."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class Commands:
    """The commands of one flow run. `run` is called from many threads, `stop` from the one that ends the flow."""

    def __init__(self) -> None:
        self.stopped = False
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def run(self, command: list[str], line: Callable[[str], object]) -> int:
        """Run `command` here, give each line of its stdout and stderr to `line` as it comes, return its exit status.

        After `stop` nothing is started any more, and the status is -15.
        """
        programs = str(Path(sys.executable).parent)  # `python` in dvc.yaml is this Python, activated or not
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",  # lines come while the stage runs, not when it ends
        }
        with self._lock:  # nothing starts between `stop` looking and `stop` ending what it saw
            if self.stopped:
                return -signal.SIGTERM
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                env=environment, process_group=0,
            )  # fmt: skip
            self._running.add(process)
        try:
            assert process.stdout is not None
            with process.stdout:
                for text in process.stdout:
                    if text.strip():
                        line(text.rstrip())
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """End every running command and all its children: SIGTERM, and SIGKILL for what is left after `GRACE`."""
        with self._lock:
            self.stopped = True
            groups = [process.pid for process in self._running]
        try:
            groups = [group for group in groups if _send(group, signal.SIGTERM)]
            end = time.monotonic() + GRACE
            while groups and time.monotonic() < end:
                time.sleep(0.05)
                groups = [group for group in groups if _send(group, 0)]
        finally:  # a second Ctrl-C does not spare them
            for group in groups:
                _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Whether the group had a process to send the signal to."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True

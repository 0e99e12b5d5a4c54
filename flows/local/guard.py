"""`python flows/local/guard.py GRACE COMMAND…`: runs a command that does not outlive whoever started it, however that one ends.

Standard input is a pipe whose other end the starter holds: it closes when the starter dies, by kill -9 too. Then, and on SIGTERM, the
command and all that it started get SIGTERM, and SIGKILL after GRACE seconds. The exit status is the command's.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

import psutil

PR_SET_CHILD_SUBREAPER = 36
POLL = 0.1  # seconds


def main(grace: float, command: list[str]) -> int:
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, receive)
    if sys.platform == "linux":
        # Orphans below become our children, so that none is missed, not one in a session of its own either.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    watched, gone = select.poll(), False
    watched.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    while process.poll() is None and not received and not gone:
        gone = bool(watched.poll(1000 * POLL)) and not os.read(sys.stdin.fileno(), 1)
    _end(grace)
    status = process.wait()
    return 128 - status if status < 0 else status


def _end(grace: float) -> None:
    """End every process below this one; at the end of a command there is none, unless it left some behind."""
    left = psutil.Process().children(recursive=True)
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        end = time.monotonic() + patience
        while left and time.monotonic() < end:
            psutil.wait_procs(left, timeout=POLL)
            left = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))

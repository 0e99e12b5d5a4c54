"""`python flows/local/watchdog.py PID`: ends the process PID and its children as soon as whoever started this is gone, by kill -9 too.

Standard input is a pipe whose other end the starter holds and never writes to. For a process that somebody else starts, so that no guard
(`guard.py`) can be put above it.
"""

import sys
from contextlib import suppress

import psutil

GRACE = 5.0  # seconds


def main(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)  # by its start time, too: a later process of the same number is left alone
        sys.stdin.read()
        left = [process, *process.children(recursive=True)]
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for one in left:
                with suppress(psutil.NoSuchProcess):
                    end(one)
            _, left = psutil.wait_procs(left, timeout=GRACE)


if __name__ == "__main__":
    main(int(sys.argv[1]))

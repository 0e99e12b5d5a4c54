"""`python -m tuition.forkserver.around COMMAND ...`: the command, with a fork server for the stages that it starts."""

import os
import signal
import subprocess
import sys

from tuition.forkserver import VARIABLE, running


def main(command: list[str]) -> int:
    """The command's exit status, negative where a signal ended it. Where there is no fork server to be had, it runs without one."""
    if sys.platform != "linux" or VARIABLE in os.environ:
        os.execvp(command[0], command)
    with running() as address:
        process = subprocess.Popen(command, env=os.environ | {VARIABLE: address})
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # Ctrl-C reaches the command by itself
            signal.signal(
                number, signal.SIG_IGN if number == signal.SIGINT else lambda which, _: process.send_signal(which)
            )
        return process.wait()


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("what command? `python -m tuition.forkserver.around dvc repro`")
    status = main(sys.argv[1:])
    sys.exit(status if status >= 0 else 128 - status)

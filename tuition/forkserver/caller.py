"""The process that a stage was started in: a fork of the server stands for it."""

import contextlib
import json
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from tuition.forkserver import VARIABLE, interpreter
from tuition.forkserver.messages import send

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SERVER_GONE = 70  # exit status: how the stage ended is not known


def hand_over() -> None:
    """Called as `python -m module` begins: let a fork of the server run the module and end as it ends.

    Returns, and the module runs here, where no server is named or reached, or where one could not stand for this process.
    """
    address = os.environ.get(VARIABLE)
    if not address or sys.orig_argv[1:2] != ["-m"]:  # with options of Python's own it starts anew
        return
    connection = socket.socket(socket.AF_UNIX)
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until there is somebody to forward them to
    try:
        connection.connect(address)
        request = {
            "interpreter": interpreter(),
            "module": sys.orig_argv[2],
            "arguments": sys.orig_argv[3:],
            "folder": os.getcwd(),
            "path": sys.path,
            "environment": dict(os.environ),
            "umask": _umask(),
            "ignores_interrupts": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        }
        send(connection, json.dumps(request).encode())
        replies = connection.makefile("r")
        accepted = replies.readline()
    except OSError:
        accepted = ""
    if accepted.strip().isdecimal():
        _stand_for(int(accepted), replies)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    connection.close()


def _stand_for(child: int, replies: Any) -> NoReturn:
    """Forward signals to the fork until it ends, then end as it did."""

    def forward(number: int, _frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in FORWARDED:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    status = replies.readline().strip()
    if not status:
        print("the fork server has ended: how this stage ended is not known", file=sys.stderr, flush=True)
        os._exit(SERVER_GONE)
    code = int(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

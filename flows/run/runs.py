"""What a flow's process has to do with Prefect: its server, its name, and that it ends when it shall."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from flows.local import watchdog
from flows.services import api
from tuition.errors import Unreachable

POLL = 1.0  # seconds
SERVER = "prefect.server.api.server:create_app"  # in the command line of Prefect's temporary server
_watchdogs: list[subprocess.Popen[bytes]] = []  # each acts when this process is gone


def start_server() -> None:
    """Reach the Prefect server of PREFECT_API_URL, or start a temporary one, deaf to Ctrl-C: the flow reports its end to it.

    For a flow that is run from a shell: SIGTERM ends this process then as a plain exit does, which ends that server as well.
    Raises Unreachable where no server answers.
    """
    # Prefect raises in the flow on SIGTERM and then sends it again.
    api.without_user(PREFECT_API_URL.value() or "")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server inherits this
    try:
        with get_client(sync_client=True) as client:
            if error := client.api_healthcheck():
                raise Unreachable(f"PREFECT_API_URL: no Prefect server answers at {client.api_url} ({error})")
        for child in psutil.Process().children():
            if SERVER in child.cmdline():  # Prefect ends it at this process's exit, but not after kill -9
                command = [sys.executable, watchdog.__file__, str(child.pid)]
                _watchdogs.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def run_to_the_end(flow: Callable[..., Any], *arguments: Any, **more: Any) -> None:
    """Run a flow from a shell, with a server of its own where none is named; the process ends with 1 where it failed."""
    start_server()
    state = flow(*arguments, **more, return_state=True)
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
        sys.exit(1)


def flow_run_name() -> str:
    """The flow run's name, as Prefect's pages show it."""
    return runtime.flow_run.name or "unnamed"


def end_with_worker() -> None:
    """A deployment's run ends when the worker that started it does, by kill -9 too; nobody would be there to end it."""
    if runtime.deployment.id is None:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="end with the worker").start()

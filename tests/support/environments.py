"""Servers whose dependencies are not ours: an environment of its own for each, made once from the package index, and a process in it."""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support import ROOT, end_process

SERVERS = Path(__file__).parent / "servers"
CACHE = ROOT / "tests/.servers"


def environment(name: str) -> Path:
    """The interpreter of the environment that `servers/<name>.txt` pins, under our version of Python; made where it is missing."""
    listed = SERVERS / f"{name}.txt"
    mark = hashlib.sha256(listed.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = CACHE / f"{name}-{mark}"
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes at once: one makes it, the others wait
        if not (place / "complete").exists():
            for command in _commands(place, listed):
                made = subprocess.run(command, capture_output=True, text=True)
                assert made.returncode == 0, f"{' '.join(map(str, command))}\n{made.stdout}{made.stderr}"
            (place / "complete").touch()
    return place / "bin/python"


def _commands(place: Path, listed: Path) -> list[list[object]]:
    """What makes an environment: with uv where there is one, else with what comes with Python."""
    python, own = place / "bin/python", ROOT / ".uv/bin/uv"
    uv = shutil.which("uv") or (own if own.exists() else None)
    if uv:
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, place],
            [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "-r", listed],
        ]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", listed]
    return [[sys.executable, "-m", "venv", "--clear", place], pip]


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def running(command: list[object], ready: str, folder: Path, more: dict[str, str] | None = None) -> Iterator[None]:
    """A server's process in `folder`, from the time that the URL `ready` answers 200 until the end of the block."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "COVERAGE"))
    }
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=folder, env=clean | (more or {}), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(process, ready, folder / "server.log")
            yield
        finally:
            end_process(process, 20)


def _wait_for(process: subprocess.Popen, ready: str, log: Path, patience: float = 120) -> None:
    opener, end = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end:
        try:
            with opener.open(ready, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"no server at {ready}:\n{log.read_text()[-4000:]}")

"""Workspaces of their own with a quick study, and a real Prefect server, for the tests of flows."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from support import COUNTING_TEACHER, PAID, ROOT, copy_code, fork_server, templates, write_params
from tuition import forkserver

DVC = [sys.executable, "-m", "dvc"]
QUICK = {
    **PAID,
    "data.source": "npz:digits.npz",
    "study.methods": ["ce", "kd"],
    "train.steps": 4,
    "train.validate_every": 2,
    "evaluate.batch_size": 100,
}


def make_workspace(folder: Path, prepared: Path, changes: dict | None = None, databases: bool = True) -> dict[str, str]:
    """A repository of its own with the stages, the flows and a quick study; returns the environment to run in.

    With `databases`, MLflow and Prefect find empty databases there instead of making theirs.
    """
    copy_code(folder, "tuition", "stages", "flows")
    for name in ("dvc.yaml", "prefect.toml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    shutil.copy(prepared / "digits.npz", folder)
    (folder / "paid.py").write_text(COUNTING_TEACHER)
    write_params(folder, QUICK | (changes or {}))
    if databases:
        templates.mlflow_database(folder / "mlflow.db")
        templates.prefect_home(folder / ".prefect-home")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    return {
        **inherited,
        "PREFECT_HOME": str(folder / ".prefect-home"),
        "TUITION_LEDGER": str(folder / "ledger.db"),
        forkserver.VARIABLE: fork_server(),
        "XDG_DATA_HOME": str(folder / "share"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def distill(
    folder: Path, environment: dict[str, str], *arguments: str, patience: float = 300
) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "flows.distill", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=patience)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def prefect_server(folder: Path, environment: dict[str, str], port: int | None = None) -> Iterator[str]:
    """A Prefect server of its own, from when it answers; its PREFECT_API_URL."""
    port = port or free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)]
    with (folder / "server.txt").open("w") as out:
        server = psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api/health"), server, folder / "server.txt")
        yield f"http://127.0.0.1:{port}/api"
    finally:
        if server.poll() is None:
            children = server.children(recursive=True)
            server.terminate()
            _, alive = psutil.wait_procs([server, *children], timeout=10)
            for process in alive:
                process.kill()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def wait_for(found: Callable[[], Any], process: psutil.Popen, log: Path, patience: float = 120) -> Any:
    """What `found` gives as soon as it is true, while `process` lives."""
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        if one := found():
            return one
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {log.read_text()}")


def start_flow(folder: Path, environment: dict[str, str], *arguments: str) -> psutil.Popen:
    """`python -m flows.distill` in the background; what it prints goes to out.txt."""
    command = [sys.executable, "-m", "flows.distill", *arguments]
    with (folder / "out.txt").open("w") as out:
        return psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)


def below(flow: psutil.Popen, word: str) -> list[psutil.Process]:
    """All processes below the flow, as soon as one of them is a Python whose command line has `word`; else none."""
    children = flow.children(recursive=True)
    for child in children:
        try:
            if word in child.cmdline():
                return children
        except psutil.NoSuchProcess:
            pass
    return []

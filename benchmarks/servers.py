"""Real servers for the time of a measurement: Prefect's and MLflow's, each from when it answers until the end of a block."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def prefect_server(environment: Mapping[str, str], port: int, ui: bool = False) -> Iterator[None]:
    """Killed (kill -9) at the end of the block; its database stays in PREFECT_HOME."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--ui" if ui else "--no-ui", "--port", str(port)]
    own = {**environment, "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api"}
    with _running(
        command, own, Path(environment.get("PREFECT_HOME", ".")).parent, f"http://127.0.0.1:{port}/api/health"
    ):
        yield


@contextmanager
def mlflow_server(environment: Mapping[str, str], folder: Path, port: int) -> Iterator[None]:
    """Keeps all that it is told in `folder`; killed (kill -9) at the end of the block."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    own = {key: value for key, value in environment.items() if key != "MLFLOW_TRACKING_URI"}
    with _running(command, own, folder, f"http://127.0.0.1:{port}/health"):
        yield


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], folder: Path, health: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("a") as out:
        server = psutil.Popen(command, cwd=folder, env=dict(environment), stdout=out, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 180
        while not _answers(health):
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"no server at {health}:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield
    finally:
        family = [*server.children(recursive=True), server]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True

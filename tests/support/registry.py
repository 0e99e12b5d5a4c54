"""What tests of the registry share: the name, figures of a cell, the console script, and a real `mlflow` server."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from click.testing import Result
from typer.testing import CliRunner

from stages.evaluate import metrics
from support.finished import write_per_class
from support.small_study import NAMES, TEST, digits
from tuition.cli.__main__ import app
from tuition.files import read_json, write_json

NAME = "tuition-mnist5k"


def tuition(*arguments: object) -> Result:
    """The console script, in this process."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


def write_figures(root: Path, cell: str, single_ms: float = 1.5) -> dict[str, float]:
    """What `evaluate` writes beside the logits: all figures, the recall of each class, and a latency. Returns the figures."""
    labels, results = digits()[1][TEST], root / "results" / cell
    logits = np.load(results / "logits.npy")
    figures = read_json(results / "metrics.json") | metrics.score(logits, labels, 15)
    figures["size_bytes"] = (root / "students" / cell / "weights.safetensors").stat().st_size
    write_json(results / "metrics.json", figures)
    write_per_class(results, NAMES, logits, labels)
    write_json(results / "latency.json", {"batch": 500, "batch_ms": 20.0, "single_ms": single_ms, "device": "cpu"})
    return figures


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(arguments: list[str], port: int, ready: str, cwd: Path, uri: str) -> Iterator[None]:
    """A real `mlflow ...` server, from the moment it answers; its whole process group ends with the block."""
    log = (cwd / "server.log").open("w")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    environment["PATH"] = (
        f"{Path(sys.executable).parent}:{environment['PATH']}"  # `mlflow models serve` looks for uvicorn
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *arguments],
        cwd=cwd,
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, (cwd / "server.log").read_text()
            assert time.monotonic() < deadline, (cwd / "server.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{ready}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.3)
        yield
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, sign)
                process.wait(15)
        log.close()

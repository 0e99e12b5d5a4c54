"""The servers and the worker of one machine: their commands, their environment and their ports."""

import hashlib
import os
import socket
import sys
from pathlib import Path

from flows.services import api
from flows.services.deployments import POOL
from tuition.errors import UserError
from tuition.tracking.address import tracking_uri
from tuition.tracking.store import artifact_root
from tuition.workspace import Workspace

HOST = "127.0.0.1"
PORTS = {"prefect": ("TUITION_PREFECT_PORT", 4200), "mlflow": ("TUITION_MLFLOW_PORT", 5000)}
QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its own queue of jobs, which nothing here uses
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "PYTHONUNBUFFERED": "1",
}


def prefect_server(port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def mlflow_server(port: int, database: str) -> list[str]:
    """Artifacts lie where `sqlite:///mlflow.db` expects them: the same runs are found with and without the server."""
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        database,
        "--no-serve-artifacts",
        "--default-artifact-root",
        artifact_root(Path.cwd()),
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]


def worker(name: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "prefect",
        "--no-prompt",
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        "process",
        "--name",
        name,
        "--install-policy",
        "never",
    ]


def worker_name() -> str:
    """A name for this workspace's worker on this machine: runs carry it, so that they are known when it has died."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:8]}"


def environment() -> dict[str, str]:
    home = os.environ.get("PREFECT_HOME") or str(Workspace().home.prefect.absolute())
    query = os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "3")  # seconds until a run is noticed
    return {**os.environ, **QUIET, "PREFECT_HOME": home, "PREFECT_WORKER_QUERY_SECONDS": query}


def free_port(name: str, asked: int | None) -> int:
    """The port that was asked for, of the option, the variable or by default; 0 is any free one. UserError where it is taken."""
    variable, default = PORTS[name]
    text = os.environ.get(variable) or str(default)
    if asked is None and not text.isdigit():
        raise UserError(f"{variable}: found {text!r}, expected a port")
    port = int(text) if asked is None else asked
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port}, for {name}: {error.strerror if isinstance(error, OSError) else error}. Set {variable} or "
                f"--{name}-port to another one (0: any that is free), or end what has it"
            ) from None
        return probe.getsockname()[1]


def named_prefect() -> str | None:
    """The Prefect server that the environment, or Prefect's profile, names. Raises UserError as `api.without_user` does."""
    if "PREFECT_API_URL" in os.environ:
        url = os.environ["PREFECT_API_URL"]
    else:
        from prefect.settings import get_current_settings

        url = get_current_settings().api.url or ""
    return api.without_user(url.rstrip("/")) if url else None


def named_tracking() -> str:
    """The MLflow store that the environment names, without a user and a password of a server's; empty where none is named."""
    return tracking_uri() if os.environ.get("MLFLOW_TRACKING_URI") else ""

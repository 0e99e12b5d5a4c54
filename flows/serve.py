"""Everything on one machine: Prefect's server, MLflow's server, a worker and the deployments of prefect.yaml.

    python -m flows.serve start [--prefect-port N] [--mlflow-port N]    (make serve)
    python -m flows.serve stop                                          (make stop)
    python -m flows.serve status | check | deploy

A server that PREFECT_API_URL or MLFLOW_TRACKING_URI names is used instead of one of our own. What runs stands in
.tuition/serve.json, and what it says in .tuition/*.log.
"""

import argparse
import contextlib
import datetime
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows import api, deployments, services
from stages import params as parameters
from stages.arrays import read_json, write_json
from stages.errors import UserError, run

HOME = Path(".tuition")
RECORD = HOME / "serve.json"
HOST = "127.0.0.1"
PORTS = {"prefect": ("TUITION_PREFECT_PORT", 4200), "mlflow": ("TUITION_MLFLOW_PORT", 5000)}
PATIENCE = 300.0  # seconds for a server to answer: the first start makes its database
ENDING = ("worker", "mlflow", "prefect")  # runs report their end to the server, so it goes last
QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its own queue of jobs, which nothing here uses
    "PYTHONUNBUFFERED": "1",
}
State = dict[str, Any]


def start(ports: dict[str, int]) -> None:
    """Start what does not run yet, deploy, print where everything is. Leaves nothing new running where a step fails."""
    params, plan = parameters.load(), deployments.read()
    with _locked():
        state = _state()
        ours = {name: record for name, record in state["services"].items() if services.alive(record)}
        gone = [record for name, record in state["services"].items() if name not in ours]
        services.end(gone)  # children that outlived a service of ours
        state["services"] = dict(ours)
        try:
            _start(state, ports, params, plan)
        except BaseException:
            with _deaf():
                new = [record for name, record in state["services"].items() if name not in ours]
                if new:
                    print("ending what was started", file=sys.stderr)
                services.end(new)
                _keep({**state, "services": ours})
            raise
    _tell(state, started=[name for name in state["services"] if name not in ours])


def _start(state: State, ports: dict[str, int], params: parameters.Params, plan: list[deployments.Deployment]) -> None:
    environment = _environment()
    own = {name: state[name] for name in PORTS if state.get(name)}  # a shell may still name a server of ours
    prefect, tracking = _named_prefect(), os.environ.get("MLFLOW_TRACKING_URI") or ""
    outside = {
        "prefect": prefect if prefect and prefect != own.get("prefect") else None,
        "mlflow": tracking if tracking.startswith("http") and tracking != own.get("mlflow") else None,
    }
    if outside["prefect"]:
        _check_answers("PREFECT_API_URL", outside["prefect"], "/health")
        deployments.check_free(outside["prefect"], plan, Path.cwd())
    if outside["mlflow"]:
        _check_answers("MLFLOW_TRACKING_URI", outside["mlflow"], "/health")
    missing = [name for name in PORTS if not outside[name] and name not in state["services"]]
    chosen = {name: _free_port(name, ports.get(name)) for name in missing}
    for name in PORTS:
        if outside[name]:
            state[name] = outside[name]
        elif name in missing:
            address = f"http://{HOST}:{chosen[name]}"
            state[name] = f"{address}/api" if name == "prefect" else address
    database = tracking if tracking and not tracking.startswith("http") else f"sqlite:///{Path('mlflow.db').absolute()}"
    if "mlflow" in missing:
        _command([sys.executable, "-m", "stages.tracking"], {**environment, "MLFLOW_TRACKING_URI": database})
    commands = {"prefect": _prefect_server, "mlflow": lambda port: _mlflow_server(port, database)}
    for name in missing:
        _launch(state, name, commands[name](chosen[name]), environment)
    for name in missing:
        _wait(name, state, lambda name=name: api.answers(f"{state[name]}/health"))  # type: ignore[misc]
    environment |= {"PREFECT_API_URL": state["prefect"], "MLFLOW_TRACKING_URI": state["mlflow"]}
    deployments.make_pool(state["prefect"])
    state["worker"] = _worker_name()
    if "worker" not in state["services"]:
        for name in deployments.settle(state["prefect"], state["worker"]):
            print(f"the run {name} had ended with its worker; it is marked as crashed")
    state["notes"] = deployments.deploy(state["prefect"], environment, params)
    if "worker" not in state["services"]:
        since = datetime.datetime.now(datetime.UTC)
        _launch(state, "worker", _worker(state["worker"]), environment)
        _wait("worker", state, lambda: deployments.online(state["prefect"], state["worker"], since))
    _keep(state)


def stop() -> None:
    """End the services and everything that they started; harmless where nothing runs."""
    with _locked(), _deaf():
        state = _state()
        running = {name: services.find([record]) for name, record in state["services"].items()}
        for name in sorted(state["services"], key=ENDING.index):
            left = services.end([state["services"][name]])
            if left:
                raise UserError(f"{name}: process {', '.join(str(process.pid) for process in left)} could not be ended")
            if name == "worker" and api.answers(f"{state['prefect']}/health"):
                with contextlib.suppress(UserError):
                    deployments.settle(state["prefect"], state["worker"])
            state["services"].pop(name)
            _keep(state)
        RECORD.unlink(missing_ok=True)
    ended = [name for name, processes in running.items() if processes]
    print(f"ended: {', '.join(ended)}" if ended else "nothing was running")


def status() -> bool:
    """Print what runs. Whether everything does."""
    state, good = _state(), True
    if not state["services"]:
        print("nothing runs; `make serve` starts it")
        return False
    for name in (*PORTS, "worker"):
        record, where = state["services"].get(name), state.get(name, "")
        answers = name == "worker" or api.answers(f"{where}/health")
        if record is None and name != "worker":
            text = "not ours, answers" if answers else "not ours, does not answer"
        elif record is None or not services.alive(record):
            text = "has ended; `make serve` starts it again"
        else:
            text = f"runs as process {record['pid']}{'' if answers else ', does not answer'}"
        good = good and answers and "ended" not in text
        print(f"{name:8} {_shown(name, where):38} {text}")
    return good


def check() -> None:
    """Check params.yaml, prefect.yaml and, where one is named, the server, without changing anything."""
    parameters.load()
    plan = deployments.read()
    if url := _named_prefect():
        _check_answers("PREFECT_API_URL", url, "/health")
        deployments.check_free(url, plan, Path.cwd())
    print(deployments.describe(plan))


def deploy() -> None:
    """Deploy to the server that PREFECT_API_URL names, for workers that are started elsewhere."""
    params, _ = parameters.load(), deployments.read()
    url = _named_prefect()
    if not url:
        raise UserError("PREFECT_API_URL: not set; it names the server to deploy to (`start` starts one here)")
    _check_answers("PREFECT_API_URL", url, "/health")
    for note in deployments.deploy(url, _environment(), params):
        print(note)
    print(deployments.describe(deployments.read()))


def _prefect_server(port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def _mlflow_server(port: int, database: str) -> list[str]:
    """Artifacts lie where `sqlite:///mlflow.db` expects them: the same runs are found with and without the server."""
    return [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--no-serve-artifacts",
        "--default-artifact-root", str(Path("mlruns").absolute()), "--host", HOST, "--port", str(port), "--workers", "1",
    ]  # fmt: skip


def _worker(name: str) -> list[str]:
    return [
        sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--pool", deployments.POOL, "--type", "process",
        "--name", name, "--install-policy", "never",
    ]  # fmt: skip


def _worker_name() -> str:
    """A name for this workspace's worker on this machine: runs carry it, so that they are known when it has died."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:8]}"


def _environment() -> dict[str, str]:
    home = os.environ.get("PREFECT_HOME") or str((HOME / "prefect").absolute())
    query = os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "3")  # seconds until a run is noticed
    return {**os.environ, **QUIET, "PREFECT_HOME": home, "PREFECT_WORKER_QUERY_SECONDS": query}


def _named_prefect() -> str | None:
    """The server that the environment, or Prefect's profile, names."""
    if "PREFECT_API_URL" in os.environ:
        return os.environ["PREFECT_API_URL"].rstrip("/") or None
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    return url.rstrip("/") if url else None


def _check_answers(variable: str, url: str, path: str) -> None:
    if not api.answers(url.rstrip("/") + path):
        raise UserError(
            f"{variable}: no server answers at {url}; start it, or unset {variable} and one is started here"
        )


def _free_port(name: str, asked: int | None) -> int:
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


def _launch(state: State, name: str, command: list[str], environment: dict[str, str]) -> None:
    record = state["services"][name] = services.new(state.get(name))
    _keep(state)
    services.launch(record, command, environment, HOME / f"{name}.log")
    _keep(state)


def _wait(name: str, state: State, condition: Any) -> None:
    record = state["services"][name]
    came = services.until(lambda: condition() or not services.alive(record), PATIENCE)
    if not services.alive(record) or not came:
        log = HOME / f"{name}.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        what = f"does not answer after {PATIENCE:.0f} s" if services.alive(record) else "has ended"
        raise UserError(f"{name} {what}; the end of {log}:\n{tail}")


def _command(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise UserError(f"{' '.join(command[1:])}: " + "\n".join(done.stderr.strip().splitlines()[-10:]))


def _state() -> State:
    try:
        state = read_json(RECORD) if RECORD.exists() else {}
    except UserError:
        state = {}
    return {"services": {}, **state}


def _keep(state: State) -> None:
    write_json(RECORD, state)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    HOME.mkdir(exist_ok=True)
    with (HOME / "serve.lock").open("w") as file:  # not inherited: Python opens files so that children do not have them
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{HOME}/serve.lock: another start or stop is at work in this workspace") from None
        yield


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until what is being ended has ended."""
    kinds = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, kinds)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shown(name: str, where: str) -> str:
    if name == "worker":
        return where
    parts = urlsplit(where)  # without a password
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _tell(state: State, started: list[str]) -> None:
    for name in (*PORTS, "worker"):
        how = "started" if name in started else "runs already" if name in state["services"] else "not ours"
        print(f"{name:8} {_shown(name, state[name]):38} {how}")
    print(deployments.describe(deployments.read()))
    for note in state.get("notes", []):
        print(note)
    print("From another shell: prefect deployment run distill/study, after\n")
    print(f"export PREFECT_API_URL={state['prefect']} MLFLOW_TRACKING_URI={state['mlflow']}")


def main(argv: list[str]) -> None:
    """Exit status: 1 where `status` finds something that does not run, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["start", "stop", "status", "check", "deploy"])
    for name, (variable, default) in PORTS.items():
        parser.add_argument(
            f"--{name}-port", type=int, metavar="N", help=f"or {variable} (default {default}; 0: any free one)"
        )
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.action == "start":
        given = {name: getattr(options, f"{name}_port") for name in PORTS}
        start({name: port for name, port in given.items() if port is not None})
    elif options.action == "status":
        sys.exit(0 if status() else 1)
    else:
        {"stop": stop, "check": check, "deploy": deploy}[options.action]()


if __name__ == "__main__":
    run(main)

"""Everything on one machine: Prefect's server, MLflow's server, a worker and the deployments of prefect.yaml.

    python -m flows.serve start [--prefect-port N] [--mlflow-port N]    (make serve)
    python -m flows.serve stop                                          (make stop)
    python -m flows.serve status | check | deploy
    python -m flows.serve work                                          (in a container: a worker, in the foreground)

A server that PREFECT_API_URL or MLFLOW_TRACKING_URI names is used instead of one of our own. What runs stands in
.tuition/serve.json, and what it says in .tuition/*.log.
"""

import argparse
import contextlib
import datetime
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.services import api, deployments, processes, servers
from tuition.addresses import shown
from tuition.errors import Unreachable, UserError, run
from tuition.files import read_json, write_json
from tuition.params import Params, load
from tuition.workspace import Workspace

HOME = Workspace().home
PATIENCE = 300.0  # seconds for a server to answer: the first start makes its database
ENDING = ("worker", "mlflow", "prefect")  # runs report their end to the server, so it goes last
State = dict[str, Any]


def start(ports: dict[str, int]) -> None:
    """Start what does not run yet, deploy, print where everything is. Leaves nothing new running where a step fails."""
    params, plan = load(), deployments.read_deployments()
    with _locked():
        state = _state()
        running = {name: record for name, record in state["services"].items() if processes.is_alive(record)}
        gone = [record for name, record in state["services"].items() if name not in running]
        processes.end_services(gone)  # children that outlived a service
        state["services"] = dict(running)
        try:
            _start(state, ports, params, plan)
        except BaseException:
            with _signals_blocked():
                new = _new(state, running)
                if new:
                    print("ending what was started", file=sys.stderr)
                processes.end_services([state["services"].pop(name) for name in new])
                _keep(state)
            raise
    _print_addresses(state, started=_new(state, running))


def _new(state: State, before: State) -> list[str]:
    return [name for name, record in state["services"].items() if record is not before.get(name)]


def _start(state: State, ports: dict[str, int], params: Params, plan: list[deployments.Deployment]) -> None:
    tracking, chosen = servers.named_tracking(), _addresses(state, ports, plan)
    environment = servers.environment()
    database = (
        tracking
        if tracking and not tracking.startswith("http")
        else f"sqlite:///{Workspace().mlflow_database.absolute()}"
    )
    if "mlflow" in chosen:
        _command([sys.executable, "-m", "tuition.tracking"], {**environment, "MLFLOW_TRACKING_URI": database})
    commands = {"prefect": servers.prefect_server, "mlflow": lambda port: servers.mlflow_server(port, database)}
    for name in chosen:
        _launch(
            state, name, commands[name](chosen[name]), environment | {"PREFECT_SERVER_UI_API_URL": state["prefect"]}
        )
    for name in chosen:
        _wait(name, state, lambda name=name: api.url_answers(f"{state[name]}/health"))  # type: ignore[misc]
    environment |= {"PREFECT_API_URL": state["prefect"], "MLFLOW_TRACKING_URI": state["mlflow"]}
    deployments.make_pool(state["prefect"])
    state["worker"] = servers.worker_name()
    if "worker" not in state["services"]:
        for name in deployments.settle_lost_runs(state["prefect"], state["worker"]):
            print(f"the run {name} had ended with its worker; it is marked as crashed")
    state["notes"] = deployments.deploy(state["prefect"], environment, params)
    if "worker" not in state["services"]:
        since = datetime.datetime.now(datetime.UTC)
        _launch(state, "worker", servers.worker(state["worker"]), environment)
        _wait("worker", state, lambda: deployments.worker_online(state["prefect"], state["worker"], since))
    _keep(state)


def _addresses(state: State, ports: dict[str, int], plan: list[deployments.Deployment]) -> dict[str, int]:
    """Write into the state where each server is or will be. Returns the ports of those to start here.

    Raises Unreachable where a named server does not answer, UserError where a port is taken or a deployment another workspace's.
    """
    own = state.setdefault("own", {})
    prefect, tracking = servers.named_prefect(), servers.named_tracking()
    named = {"prefect": prefect, "mlflow": tracking if tracking.startswith("http") else None}
    outside = {name: url for name, url in named.items() if url and url != own.get(name)}  # a shell may still name ours
    for name, variable in (("prefect", "PREFECT_API_URL"), ("mlflow", "MLFLOW_TRACKING_URI")):
        if name in outside:
            _check_answers(variable, outside[name])
    if "prefect" in outside:
        deployments.check_unclaimed(outside["prefect"], plan, Path.cwd())
    missing = [name for name in servers.PORTS if name not in outside and name not in state["services"]]
    # A server that died comes back where it was: what still runs looks for it there.
    last = {name: urlsplit(own[name]).port for name in missing if name in own and state["services"]}
    chosen = {name: servers.free_port(name, ports.get(name, last.get(name))) for name in missing}
    before = {name: state.get(name) for name in servers.PORTS}
    own |= {name: f"http://{servers.HOST}:{port}{'/api' * (name == 'prefect')}" for name, port in chosen.items()}
    state |= {name: outside.get(name, own.get(name)) for name in servers.PORTS}
    if "worker" in state["services"] and before != {name: state[name] for name in servers.PORTS}:
        processes.end_services([state["services"].pop("worker")])  # it knows the servers of before
    return chosen


def stop() -> None:
    """End the services and everything that they started; harmless where nothing runs."""
    with _locked(), _signals_blocked():
        state = _state()
        running = {name: processes.find_processes([record]) for name, record in state["services"].items()}
        for name in sorted(state["services"], key=ENDING.index):
            left = processes.end_services([state["services"][name]])
            if left:
                raise UserError(f"{name}: process {', '.join(str(process.pid) for process in left)} could not be ended")
            if name == "worker" and api.url_answers(f"{state['prefect']}/health"):
                with contextlib.suppress(UserError):
                    deployments.settle_lost_runs(state["prefect"], state["worker"])
            state["services"].pop(name)
            _keep(state)  # the addresses stay: a shell that still exports them means ours
    ended = [name for name, processes in running.items() if processes]
    print(f"ended: {', '.join(ended)}" if ended else "nothing was running")


def status() -> bool:
    """Print what runs. Whether everything does."""
    state, good = _state(), True
    if not state["services"]:
        print("nothing runs; `make serve` starts it")
        return False
    for name in (*servers.PORTS, "worker"):
        record, where = state["services"].get(name), state.get(name, "")
        answers = name == "worker" or api.url_answers(f"{where}/health")
        if record is None and name != "worker":
            text = "not ours, answers" if answers else "not ours, does not answer"
        elif record is None or not processes.is_alive(record):
            text = "has ended; `make serve` starts it again"
        else:
            text = f"runs as process {record['pid']}{'' if answers else ', does not answer'}"
        good = good and answers and "ended" not in text
        print(f"{name:8} {_shown(name, where):38} {text}")
    return good


def check() -> None:
    """Check params.yaml, prefect.yaml and, where one is named, the server, without changing anything."""
    load()
    plan = deployments.read_deployments()
    if url := servers.named_prefect():
        _check_answers("PREFECT_API_URL", url)
        deployments.check_unclaimed(url, plan, Path.cwd())
    print(deployments.describe_deployments(plan))


def deploy() -> None:
    """Deploy to the server that PREFECT_API_URL names, for workers that are started elsewhere."""
    params, _ = load(), deployments.read_deployments()
    url = servers.named_prefect()
    if not url:
        raise UserError("PREFECT_API_URL: not set; it names the server to deploy to (`start` starts one here)")
    _check_answers("PREFECT_API_URL", url)
    for note in deployments.deploy(url, servers.environment(), params):
        print(note)
    print(deployments.describe_deployments(deployments.read_deployments()))


def work() -> None:
    """Deploy to the server that PREFECT_API_URL names, then be its worker for this workspace. Does not return."""
    deploy()
    url, name = str(servers.named_prefect()), servers.worker_name()
    for lost in deployments.settle_lost_runs(url, name):
        print(f"the run {lost} had ended with its worker; it is marked as crashed", flush=True)
    command = [*servers.worker(name), "--with-healthcheck"]
    os.execve(command[0], command, servers.environment())


def _check_answers(variable: str, url: str) -> None:
    if not api.url_answers(f"{url.rstrip('/')}/health"):
        raise Unreachable(
            f"{variable}: no server answers at {url}; start it, or unset {variable} and one is started here"
        )


def _launch(state: State, name: str, command: list[str], environment: dict[str, str]) -> None:
    record = state["services"][name] = processes.new_record(state.get(name))
    _keep(state)
    processes.launch_process(record, command, environment, HOME.log(name))
    _keep(state)


def _wait(name: str, state: State, condition: Callable[[], bool]) -> None:
    record = state["services"][name]
    came = processes.wait_until(lambda: condition() or not processes.is_alive(record), PATIENCE)
    if not processes.is_alive(record) or not came:
        log = HOME.log(name)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        what = f"does not answer after {PATIENCE:.0f} s" if processes.is_alive(record) else "has ended"
        raise UserError(f"{name} {what}; the end of {log}:\n{tail}")


def _command(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise UserError(f"{' '.join(command[1:])}: " + "\n".join(done.stderr.strip().splitlines()[-10:]))


def _state() -> State:
    try:
        state = read_json(HOME.served) if HOME.served.exists() else {}
    except UserError:
        state = {}
    return {"services": {}, **state}


def _keep(state: State) -> None:
    write_json(HOME.served, state)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    HOME.path.mkdir(exist_ok=True)
    with HOME.serve_lock.open("w") as file:  # not inherited: Python opens files so that children do not have them
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{HOME.serve_lock}: another start or stop is at work in this workspace") from None
        yield


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
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
    parts = urlsplit(shown(where))
    return f"{parts.scheme}://{parts.netloc}"


def _print_addresses(state: State, started: list[str]) -> None:
    for name in (*servers.PORTS, "worker"):
        how = "started" if name in started else "runs already" if name in state["services"] else "not ours"
        print(f"{name:8} {_shown(name, state[name]):38} {how}")
    print(deployments.describe_deployments(deployments.read_deployments()))
    for note in state.get("notes", []):
        print(note)
    print("From another shell: prefect deployment run distill/study, after\n")
    print(f"export PREFECT_API_URL={state['prefect']} MLFLOW_TRACKING_URI={state['mlflow']}")


def main(argv: list[str]) -> None:
    """Exit status: 1 where `status` finds something that does not run, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["start", "stop", "status", "check", "deploy", "work"])
    for name, (variable, default) in servers.PORTS.items():
        parser.add_argument(
            f"--{name}-port", type=int, metavar="N", help=f"or {variable} (default {default}; 0: any free one)"
        )
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.action == "start":
        given = {name: getattr(options, f"{name}_port") for name in servers.PORTS}
        start({name: port for name, port in given.items() if port is not None})
    elif options.action == "status":
        sys.exit(0 if status() else 1)
    else:
        {"stop": stop, "check": check, "deploy": deploy, "work": work}[options.action]()


if __name__ == "__main__":
    run(main)

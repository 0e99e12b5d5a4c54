"""`flows.serve` with real servers, a real worker and real runs: what it starts works, and nothing of it is left after it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
from support import bill
from support.serving import Workspace, elsewhere, wait_for
from support.workspaces import free_port

from tuition.errors import Unreachable

SERVICES = {"prefect", "mlflow", "worker"}


@pytest.fixture
def workspace(tmp_path, prepared):
    made = Workspace(tmp_path, prepared)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def serving(tmp_path_factory, prepared):
    """A workspace where `start` was run, what it said, and what another shell exports."""
    made = Workspace(tmp_path_factory.mktemp("serving"), prepared)
    try:
        done = made.start()
        assert done.returncode == 0, done.stdout + done.stderr
        yield made, done.stdout, made.exported(done.stdout)
    finally:
        made.serve("stop")
        made.clean()


def prefect(folder, exported, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=folder,
        env=elsewhere(folder) | exported,
        capture_output=True,
        text=True,
        timeout=500,
    )


def asked(exported, method: str, path: str, body=None):
    request = urllib.request.Request(
        exported["PREFECT_API_URL"] + path,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def runs(exported) -> dict[str, str]:
    """The state of every flow run by its name."""
    return {run["name"]: run["state_type"] for run in asked(exported, "POST", "/flow_runs/filter", {})}


@pytest.mark.slow
def test_start_says_where_everything_is(serving, tmp_path):
    made, told, exported = serving
    assert "distill/study" in told
    assert set(made.state()["services"]) == SERVICES
    for url in (f"{exported['PREFECT_API_URL']}/health", f"{exported['MLFLOW_TRACKING_URI']}/health"):
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200
    with urllib.request.urlopen(exported["PREFECT_API_URL"].removesuffix("api") + "ui-settings", timeout=60) as answer:
        assert json.loads(answer.read())["api_url"] == exported["PREFECT_API_URL"]  # where the pages ask
    status = made.serve("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.count("runs as process") == 3
    found = prefect(tmp_path, exported, "deployment", "ls")
    assert all(name in found.stdout for name in ("distill/study", "refresh/nightly", "score/folder")), found.stdout
    assert "refresh/nightly: its schedule is paused, for refresh.inbox in params.yaml is null" in told
    (schedule,) = asked(exported, "GET", "/deployments/name/refresh/nightly")["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (False, "0 3 * * *")


@pytest.mark.slow
def test_a_second_start_changes_nothing(serving):
    made, _, exported = serving
    before = {name: record["pid"] for name, record in made.state()["services"].items()}
    done = made.start()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("runs already") == 3
    assert {name: record["pid"] for name, record in made.state()["services"].items()} == before
    assert made.exported(done.stdout) == exported
    again = made.serve("start", **exported)  # from a shell that exports our own servers: they are still ours
    assert again.stdout.count("runs already") == 3


@pytest.mark.slow
def test_the_deployment_runs_where_it_should(serving):
    _, _, exported = serving
    made = asked(exported, "GET", "/deployments/name/distill/study")
    assert made["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert made["global_concurrency_limit"]["limit"] == 1
    assert made["job_variables"]["command"] == f"{sys.executable} -m prefect.engine"
    queue = asked(exported, "GET", "/work_pools/tuition/queues/workspace")
    assert (made["work_queue_name"], queue["concurrency_limit"]) == ("workspace", 1)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_from_another_shell(serving, tmp_path):
    made, _, exported = serving
    done = prefect(tmp_path, exported, "deployment", "run", "distill/study", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr + (made.folder / ".tuition/worker.log").read_text()
    assert set(runs(exported).values()) == {"COMPLETED"}
    assert json.loads((made.folder / "report/registered.json").read_text())["version"] == "1"
    assert len(bill(made.folder)) == 40
    code = "import mlflow, sys; print(mlflow.pyfunc.load_model('models:/tuition-mnist5k@champion').metadata.run_id)"
    for uri in (
        exported["MLFLOW_TRACKING_URI"],
        f"sqlite:///{made.folder}/mlflow.db",
    ):  # with the server and without it
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=elsewhere(tmp_path) | {"MLFLOW_TRACKING_URI": uri},
        )
        assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_a_killed_worker_leaves_nothing(serving, tmp_path):
    """First with `start`, which brings back what died, then with `stop`."""
    made, _, exported = serving
    for action in ("start", "stop"):
        params = made.folder / "params.yaml"
        params.write_text(params.read_text().replace("steps: 4", "steps: 100000"))
        asked_for = prefect(tmp_path, exported, "deployment", "run", "distill/study")
        assert asked_for.returncode == 0, asked_for.stdout + asked_for.stderr
        wait_for(lambda: made.having("stages.train 40"), "a student trains")
        worker = psutil.Process(made.state()["services"]["worker"]["pid"])
        others = [process for process in made.processes() if process.pid != worker.pid]
        victims = [worker, *(made.having("prefect.engine") if action == "start" else [])]  # nobody to tell the server
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, 10)
        assert any(process.is_running() for process in others)
        status = made.serve("status")
        assert status.returncode == 1
        assert "has ended; `make serve` starts it again" in status.stdout
        done = made.serve(action)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not made.having("stages.")
        assert not made.having("prefect.engine")
        if action == "start":
            assert (done.stdout.count("runs already"), done.stdout.count("started")) == (2, 1)
            assert "had ended with its worker; it is marked as crashed" in done.stdout
            states = set(runs(exported).values())
            assert "CRASHED" in states
            assert states <= {"COMPLETED", "CRASHED"}
            assert made.serve("status").returncode == 0
    assert made.processes() == []
    assert made.state()["services"] == {}
    again = made.serve("stop")
    assert (again.returncode, again.stdout) == (0, "nothing was running\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_start_that_is_cut_off(workspace, number):
    start = workspace.begin()
    wait_for(lambda: workspace.state()["services"].get("prefect", {}).get("pid"), "Prefect's server was launched")
    start.send_signal(number)
    start.wait(120)
    assert start.returncode != 0
    if number == signal.SIGKILL:
        assert workspace.processes() != []
        assert workspace.serve("stop").returncode == 0
    assert workspace.processes() == []


@pytest.mark.slow
def test_a_server_that_dies_at_its_start(workspace):
    (workspace.folder / ".tuition").mkdir()
    (workspace.folder / ".tuition/prefect").write_text("no folder, so Prefect has no home")
    done = workspace.start()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error: prefect has ended; the end of .tuition/prefect.log:" in done.stderr
    assert workspace.processes() == []
    assert workspace.state()["services"] == {}


@pytest.mark.slow
def test_a_taken_port_is_named_and_nothing_runs(workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = workspace.serve("start", "--prefect-port", "0", TUITION_MLFLOW_PORT=str(port))
        assert done.returncode == 2
        assert (
            f"error: port {port}, for mlflow: Address already in use. Set TUITION_MLFLOW_PORT or --mlflow-port"
            in done.stderr
        )
    assert workspace.processes() == []


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_told_at_once(workspace):
    url = f"http://127.0.0.1:{free_port()}"
    for variable, value in (("PREFECT_API_URL", f"{url}/api"), ("MLFLOW_TRACKING_URI", url)):
        begun = time.monotonic()
        done = workspace.serve("start", **{variable: value})
        assert time.monotonic() - begun < 60
        assert done.returncode == Unreachable.status
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith(f"error: {variable}: no server answers at {value}")
    assert workspace.serve("deploy").stderr.startswith("error: PREFECT_API_URL: not set")
    assert workspace.processes() == []
    assert not (workspace.folder / "mlflow.db").exists()


@pytest.mark.slow
def test_a_schedule_in_the_past_starts_nothing(workspace):
    plan = workspace.folder / "prefect.yaml"
    past = "schedules: [{rrule: 'DTSTART:20200101T000000Z\\nRRULE:FREQ=DAILY;COUNT=3'}]"
    plan.write_text(plan.read_text().replace("schedules: []", past.replace("'", '"')))
    done = workspace.start()
    assert done.returncode == 2
    assert "distill/study: schedules[0]" in done.stderr
    assert "never comes again: its last date is in the past" in done.stderr
    assert workspace.processes() == []


def test_stop_after_a_reboot_ends_no_stranger(workspace):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        record = {"mark": "0" * 32, "pid": stranger.pid, "created": 1.0, "url": None}
        (workspace.folder / ".tuition").mkdir()
        state = {"services": {name: record for name in SERVICES}, "prefect": "http://127.0.0.1:9/api", "worker": "gone"}
        (workspace.folder / ".tuition/serve.json").write_text(json.dumps(state))
        assert workspace.serve("status").stdout.count("has ended") == 3
        done = workspace.serve("stop")
        assert (done.returncode, done.stdout) == (0, "nothing was running\n"), done.stderr
        assert stranger.poll() is None
    finally:
        os.kill(stranger.pid, signal.SIGKILL)
        stranger.wait()


@pytest.mark.slow
@pytest.mark.long
def test_a_server_of_ones_own_is_used_and_left(serving, workspace):
    """And another workspace's deployment of the same name is not replaced there."""
    made, _, exported = serving
    if not made.state()["services"]:  # the test before this one has stopped it
        exported = made.exported(made.start().stdout)
    refused = workspace.serve("start", **exported)
    assert refused.returncode == 2
    assert f"has this deployment for the workspace {made.folder}" in refused.stderr
    assert workspace.processes() == []
    plan = workspace.folder / "prefect.yaml"
    plan.write_text(plan.read_text().replace("  - name: ", "  - name: other-"))
    done = workspace.serve("start", **exported)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("not ours") == 2
    assert set(workspace.state()["services"]) == {"worker"}
    assert workspace.serve("stop").returncode == 0
    assert workspace.processes() == []
    assert asked(exported, "GET", "/deployments/name/distill/other-study")["name"] == "other-study"

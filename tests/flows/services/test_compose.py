"""The team's compose file: what its own parser makes of it, and its commands, run here against PostgreSQL and an S3-compatible server.

No container is started: the same commands run in this environment, with the services' names replaced by local addresses.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
import yaml
from support import ROOT, bill, postgres
from support.serving import Workspace, wait_for
from support.workspaces import free_port

from flows.services import processes

DEPLOY = ROOT / "deploy"
SECRETS = {"DATABASE_PASSWORD": "dbsecret42", "STORE_USER": "tuition", "STORE_PASSWORD": "storesecret42"}
PARSERS = (["docker", "compose"], ["docker-compose"])


def parser() -> list[str] | None:
    for command in PARSERS:
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True)
            if done.returncode == 0:
                return command
    return None


@pytest.fixture(scope="module")
def resolve():
    """Runs the parser on deploy/compose.yaml with these lines as .env; returns what is done."""
    command = parser()
    if command is None:
        ask = "no docker compose is installed here; on Debian: apt-get install docker-compose"
        pytest.fail(ask) if os.environ.get("CI") == "true" else pytest.skip(ask)

    def run(**values: str) -> subprocess.CompletedProcess:
        with tempfile.NamedTemporaryFile("w", suffix=".env") as file:
            file.write("".join(f"{key}={value}\n" for key, value in values.items()))
            file.flush()
            arguments = ["-f", str(DEPLOY / "compose.yaml"), "--env-file", file.name, "config"]
            names = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
            clean = {key: value for key, value in os.environ.items() if key not in names}
            return subprocess.run([*command, *arguments], capture_output=True, text=True, env=clean)

    return run


@pytest.fixture(scope="module")
def services(resolve):
    done = resolve(**SECRETS)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def test_what_it_resolves_to(services):
    assert set(services) == {"database", "store", "buckets", "prefect", "mlflow", "worker"}
    needs = {name: {k: v["condition"] for k, v in one.get("depends_on", {}).items()} for name, one in services.items()}
    assert needs["worker"] == {
        "database": "service_healthy",
        "prefect": "service_healthy",
        "mlflow": "service_healthy",
        "buckets": "service_completed_successfully",
    }
    assert needs["mlflow"] == {"database": "service_healthy", "buckets": "service_completed_successfully"}
    for name, condition in ((n, c) for one in needs.values() for n, c in one.items()):
        assert condition != "service_healthy" or "test" in services[name]["healthcheck"], name
    worker = services["worker"]["environment"]
    assert worker["TUITION_LEDGER"] == "postgresql://tuition:dbsecret42@database:5432/ledger"
    assert worker["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert worker["PREFECT_API_URL"] == "http://prefect:4200/api"


def test_ports_are_on_this_machine_alone(services):
    for name, one in services.items():
        for port in one.get("ports", []):
            found = port if isinstance(port, str) else f"{port.get('host_ip')}:"
            assert found.startswith("127.0.0.1:"), name


def test_no_secret_is_an_argument_and_none_is_in_the_repository(services):
    for name, one in services.items():
        words = json.dumps([one.get("command"), one.get("healthcheck"), one.get("image"), one.get("build")])
        assert not any(secret in words for secret in ("dbsecret42", "storesecret42")), name
    text = (DEPLOY / ".env.example").read_text()
    assert not re.search(r"^\w*(PASSWORD|KEY)=.", text, re.MULTILINE)
    ignored = subprocess.run(["git", "check-ignore", "deploy/.env"], cwd=ROOT, capture_output=True)
    assert ignored.returncode in (0, 128)  # 128: a copy without git


@pytest.mark.parametrize("missing", SECRETS)
def test_a_missing_secret_is_told(resolve, missing):
    done = resolve(**{key: value for key, value in SECRETS.items() if key != missing})
    assert done.returncode != 0
    assert "set it in deploy/.env" in done.stderr


def test_every_variable_is_in_the_example():
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text())) - {"TUITION_TAG"}
    assert asked == set(re.findall(r"^#?(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))


class Team:
    """The services' commands, run here: `environment(name)` is theirs, with the names in addresses replaced."""

    def __init__(self, folder: Path, services: dict, database: int):
        self.folder, self.services, self.started = folder, services, []
        self.ports = {"database:5432": database} | {
            place: free_port() for place in ("store:9000", "prefect:4200", "mlflow:5000")
        }

    def local(self, text: str) -> str:
        for place, port in self.ports.items():
            text = text.replace(place, f"127.0.0.1:{port}")
        return text

    def environment(self, name: str) -> dict[str, str]:
        given = {key: str(value) for key, value in self.services[name]["environment"].items()}
        given = {key: value if "HOSTS" in key else self.local(value) for key, value in given.items()}
        kept = {key: os.environ[key] for key in ("LANG", "LD_LIBRARY_PATH") if key in os.environ}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        home = {"HOME": str(self.folder / "home"), "PREFECT_HOME": str(self.folder / f"{name}-home")}
        return kept | given | home | {"PATH": programs}

    def command(self, name: str) -> list[str]:
        places = {"/opt/tuition": str(DEPLOY), "0.0.0.0": "127.0.0.1"}
        words = [str(word) for word in self.services[name]["command"]]
        for place, port in self.ports.items():  # the last argument of its kind
            words = [str(port) if word == place.partition(":")[2] else word for word in words]
        for old, new in places.items():
            words = [word.replace(old, new) for word in words]
        return words

    def start(self, name: str, cwd: Path, command: list[str] | None = None, **more: str) -> None:
        self.started.append(processes.new_record())
        words, log = command or self.command(name), self.folder / f"{name}.log"
        processes.launch_process(self.started[-1], ["env", "-C", str(cwd), *words], self.environment(name) | more, log)

    def healthy(self, name: str, port: str) -> None:
        """The service's own health check, as compose would run it."""
        test = [
            word.replace(port, str(self.ports.get(f"{name}:{port}", port)))
            for word in self.services[name]["healthcheck"]["test"][1:]
        ]

        def passes() -> bool:
            done = subprocess.run(test, env=self.environment(name), capture_output=True)
            return done.returncode == 0

        try:
            wait_for(passes, f"{name} is healthy")
        except AssertionError:
            raise AssertionError((self.folder / f"{name}.log").read_text()[-4000:]) from None


@pytest.fixture
def database(monkeypatch):
    """A PostgreSQL that listens on a port, with the user, the password and the databases that compose makes."""
    bin = postgres.binaries()
    if bin is None:
        pytest.skip("no PostgreSQL is installed here; on Debian: apt-get install postgresql")
    port = free_port()
    monkeypatch.setenv("PGPORT", str(port))  # names the socket too
    with postgres.server(bin, listen_addresses="127.0.0.1", port=str(port)) as server:
        with (server.folder / "data/pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.1/32 scram-sha-256\n")
        statements = [line for line in (DEPLOY / "databases.sql").read_text().splitlines() if not line.startswith("--")]
        server.sql(
            f"ALTER USER tuition PASSWORD '{SECRETS['DATABASE_PASSWORD']}'", "CREATE DATABASE ledger", *statements
        )
        server.sql("SELECT pg_reload_conf()")
        yield port


@pytest.fixture
def team(tmp_path, services, database):
    made = Team(tmp_path, services, database)
    yield made
    processes.end_services(made.started)


def answer(url: str, host: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=60) as given:
            return given.status
    except urllib.error.HTTPError as error:
        return error.code


def objects(team: Team, bucket: str) -> int:
    code = f"import boto3; print(len(boto3.client('s3').list_objects_v2(Bucket='{bucket}').get('Contents', [])))"
    done = subprocess.run([sys.executable, "-c", code], env=team.environment("worker"), capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(1500)
@pytest.mark.long
def test_its_commands_run_a_study(team, tmp_path_factory, prepared):
    store = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(team.ports["store:9000"])]
    team.start("store", team.folder, store)
    wait_for(lambda: _buckets(team).returncode == 0, "the store has buckets")
    assert _buckets(team).stdout.split() == ["tuition-dvc:", "there", "tuition-mlflow:", "there"]
    for name, port in (("prefect", "4200"), ("mlflow", "5000")):
        team.start(name, team.folder)
        team.healthy(name, port)
    mlflow = team.local("http://mlflow:5000/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default")
    hosts = {host: answer(mlflow, host) for host in ("mlflow:5000", "127.0.0.1:5000", "evil.example")}
    assert hosts == {"mlflow:5000": 200, "127.0.0.1:5000": 200, "evil.example": 403}

    workspace = Workspace(tmp_path_factory.mktemp("team"), prepared)
    remote = team.folder / "dvc"
    remote.mkdir()
    (remote / "config").write_text(team.local((DEPLOY / "dvc/config").read_text()))
    port, own = str(free_port()), {"DVC_SYSTEM_CONFIG_DIR": str(remote)}
    team.start("worker", workspace.folder, PREFECT_WORKER_WEBSERVER_PORT=port, **own)
    team.ports["worker:8080"] = int(port)
    team.healthy("worker", "8080")

    def here(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=workspace.folder,
            env=team.environment("worker") | own,
            capture_output=True,
            text=True,
            timeout=600,
        )

    done = here("prefect", "deployment", "run", "distill/study", "--watch")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr + (team.folder / "worker.log").read_text()[-4000:]
    assert len(bill(workspace.folder)) == 40
    assert objects(team, "tuition-mlflow") > 0
    ledger = f"postgresql://tuition:{SECRETS['DATABASE_PASSWORD']}@127.0.0.1:{team.ports['database:5432']}/ledger"
    with psycopg.connect(ledger) as connection:
        (calls,) = connection.execute("SELECT count(*) FROM calls WHERE state = 'done'").fetchone()
    assert calls == 40
    assert not (workspace.folder / "mlflow.db").exists()
    assert objects(team, "tuition-dvc") == 0
    pushed = here("dvc", "push", "--run-cache")
    assert pushed.returncode == 0, pushed.stderr
    assert objects(team, "tuition-dvc") > 10


def _buckets(team: Team) -> subprocess.CompletedProcess:
    return subprocess.run(
        team.command("buckets"), env=team.environment("buckets"), cwd=team.folder, capture_output=True, text=True
    )

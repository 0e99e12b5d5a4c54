"""prefect.yaml: checked before anything is deployed, then deployed, with the pool and the queue that its runs wait in."""

import ast
import asyncio
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.services import api
from tuition.errors import UserError, unknown
from tuition.files import read_text
from tuition.params import Params
from tuition.workspace import Workspace

FILE = Workspace().deployments
POOL = "tuition"
WORKSPACE_QUEUE = "workspace"  # holds one run at a time
READERS = {"flows/score.py"}  # flows that write nothing in the workspace, so that any number of them may run
KINDS = ("cron", "interval", "rrule")
Deployment = dict[str, Any]


def read_deployments(path: Path = FILE) -> list[Deployment]:
    """The deployments of `path`, checked. Raises UserError naming the deployment for what would fail, or never run."""
    content = _content(path)
    found = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise UserError(f"{path}: deployments: expected a list of deployments, found {found!r}")
    names = [deployment_name(one) for one in found]
    for twice in {one for one in names if names.count(one) > 1}:
        raise UserError(f"{path}: {twice} stands twice; the second would replace the first")
    for one in found:
        where = f"{path}: {deployment_name(one)}"
        _check_entrypoint(where, str(one.get("entrypoint")), path.parent)
        _check_place(where, one)
        for number, schedule in enumerate(one.get("schedules") or []):
            _check_schedule(f"{where}: schedules[{number}]", schedule)
    return found


def _content(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file here; start from the workspace, the folder with params.yaml") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None


def deployment_name(deployment: Deployment) -> str:
    """`flow/deployment`, as `prefect deployment run` takes it; the flows here are named as their functions."""
    return f"{str(deployment.get('entrypoint')).rpartition(':')[2]}/{deployment.get('name')}"


def _check_entrypoint(where: str, entrypoint: str, folder: Path) -> None:
    file, _, function = entrypoint.partition(":")
    try:
        tree = ast.parse((folder / file).read_text())
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{where}: entrypoint {entrypoint!r}: {error}") from None
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if function not in functions:
        raise unknown(f"{where}: entrypoint {entrypoint!r}", function, functions)


def _check_place(where: str, deployment: Deployment) -> None:
    """Two runs in one workspace at once: the second would fail on the first's lock. One queue lets them wait instead."""
    place = deployment.get("work_pool") or {}
    if place.get("name") != POOL:
        raise UserError(
            f"{where}: work_pool.name: found {place.get('name')!r}, expected {POOL!r}, which the worker serves"
        )
    if str(deployment["entrypoint"]).partition(":")[0] in READERS:
        return
    if place.get("work_queue_name") != WORKSPACE_QUEUE:
        raise UserError(
            f"{where}: work_pool.work_queue_name: found {place.get('work_queue_name')!r}, expected {WORKSPACE_QUEUE!r}: "
            "deployments that share this workspace wait for one another there, and a second run would fail on the first's lock"
        )


def _check_schedule(where: str, schedule: Any) -> None:
    """Raises UserError for a schedule that is malformed, or that no moment from now on answers to."""
    kinds = [kind for kind in KINDS if isinstance(schedule, dict) and schedule.get(kind)]
    if len(kinds) != 1:
        raise UserError(f"{where}: found {schedule!r}, expected one of {', '.join(KINDS)}")
    if slug := schedule.get("slug"):
        where = f"{where} ({slug})"
    try:
        dates = _next(kinds[0], schedule)
    except Exception as error:  # each library has its own; none of them is what the user needs to see
        text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"{where}: {kinds[0]} {schedule[kinds[0]]!r} is no valid schedule: {text}") from None
    if not dates:
        raise UserError(f"{where}: {kinds[0]} {schedule[kinds[0]]!r} never comes again: its last date is in the past")


def _next(kind: str, schedule: Mapping[str, Any]) -> list[Any]:
    """The next date of a schedule, as Prefect's own scheduler computes it; empty where there is none."""
    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    given = {key: schedule[key] for key in ("cron", "rrule", "timezone", "day_or", "anchor_date") if schedule.get(key)}
    made: Any
    if kind == "interval":
        seconds = schedule["interval"]
        span = datetime.timedelta(seconds=seconds) if isinstance(seconds, int | float) else seconds
        made = IntervalSchedule(interval=span, **given)
    else:
        made = {"cron": CronSchedule, "rrule": RRuleSchedule}[kind](**given)
    return asyncio.run(made.get_dates(n=1, start=datetime.datetime.now(datetime.UTC)))


def check_unclaimed(url: str, deployments: list[Deployment], workspace: Path) -> None:
    """Raises UserError where the server at `url` has one of these deployments for another workspace: it would be replaced."""
    for one in deployments:
        flow, _, last = deployment_name(one).partition("/")
        there = api.request_json(url, "GET", f"/deployments/name/{flow}/{last}")
        steps = (there or {}).get("pull_steps") or []
        places = [value.get("directory") for step in steps for value in step.values() if isinstance(value, dict)]
        for place in places:
            if place and Path(place) != workspace:
                raise UserError(
                    f"{deployment_name(one)}: the server at {url} has this deployment for the workspace {place}, and a deployment of "
                    f"{workspace} would replace it. Delete that one (`prefect deployment delete {deployment_name(one)}`) "
                    "or use another server"
                )


def make_pool(url: str) -> None:
    """Make the work pool and its queue of one run at a time, where there are none."""
    if api.request_json(url, "GET", f"/work_pools/{POOL}") is None:
        from prefect.workers.process import ProcessWorker

        template = ProcessWorker.get_default_base_job_template()
        api.request_json(url, "POST", "/work_pools/", {"name": POOL, "type": "process", "base_job_template": template})
    queues = f"/work_pools/{POOL}/queues"
    if api.request_json(url, "GET", f"{queues}/{WORKSPACE_QUEUE}") is None:
        api.request_json(url, "POST", queues, {"name": WORKSPACE_QUEUE, "concurrency_limit": 1})
    else:
        api.request_json(url, "PATCH", f"{queues}/{WORKSPACE_QUEUE}", {"concurrency_limit": 1})


def deploy(url: str, environment: Mapping[str, str], params: Params) -> list[str]:
    """Deploy every deployment of prefect.yaml to the server at `url`. Returns what the user should know.

    Raises UserError with what Prefect says where it refuses one.
    """
    deployments = read_deployments()
    check_unclaimed(url, deployments, Path.cwd())
    make_pool(url)
    paused = _pause_refresh(deployments) if params.refresh.inbox is None else []
    with tempfile.NamedTemporaryFile("w", prefix="prefect-", suffix=".yaml") as file:
        # Deployed as paused, rather than paused afterwards: between the two the server might plan a run.
        file.write(json.dumps({**_content(FILE), "deployments": deployments}, default=str))  # JSON is YAML
        file.flush()
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file.name]
        programs = str(Path(sys.executable).parent)  # the `python` of prefect.yaml is this Python
        path = os.pathsep.join([programs, environment.get("PATH", os.defpath)])
        done = subprocess.run(
            command,
            env={**environment, "PREFECT_API_URL": url, "PATH": path, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UserError(f"{FILE}: prefect deploy failed: " + "\n".join(lines[-15:]))
    return [f"{one}: its schedule is paused, for refresh.inbox in params.yaml is null" for one in paused]


def _pause_refresh(deployments: list[Deployment]) -> list[str]:
    """Make the schedules of `refresh` inactive; returns the names of the deployments that have some."""
    found = [
        one for one in deployments if str(one["entrypoint"]).startswith("flows/refresh.py") and one.get("schedules")
    ]
    for one in found:
        one["schedules"] = [{**schedule, "active": False} for schedule in one["schedules"]]
    return [deployment_name(one) for one in found]


def settle_lost_runs(url: str, worker: str) -> list[str]:
    """Mark the runs as crashed that this worker had, where it has ended: nothing else would, and their places stay taken.

    Returns their names.
    """
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}, "limit": 200}
    state = {"type": "CRASHED", "message": "the worker or the process of this run ended without a word"}
    lost = [
        run
        for run in api.request_json(url, "POST", "/flow_runs/filter", body) or []
        if (run.get("labels") or {}).get("prefect.worker.name") == worker
    ]
    for run in lost:
        api.request_json(url, "POST", f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    return [run["name"] for run in lost]


def worker_online(url: str, worker: str, since: datetime.datetime) -> bool:
    """Whether the worker of this name has told the server that it lives, since then."""
    for one in api.request_json(url, "POST", f"/work_pools/{POOL}/workers/filter", {}) or []:
        if one["name"] == worker and (seen := one.get("last_heartbeat_time")):
            return datetime.datetime.fromisoformat(seen.replace("Z", "+00:00")) >= since
    return False


def describe_deployments(deployments: list[Deployment]) -> str:
    """A line a deployment, for people."""
    lines = []
    for one in deployments:
        when = [next((str(s[kind]) for kind in KINDS if s.get(kind)), "") for s in one.get("schedules") or []]
        lines.append(f"  {deployment_name(one):16} {'; '.join(when) or 'when asked'}")
    return "\n".join(lines)

"""Claim: a study survives what happens to it: complete and identical after a rerun, calls paid ≤ budget, no process left behind.

Each fault strikes while a stage drawn at random runs, up to three seconds after it began. `itself` counts the flows that came to their
end in spite of it; the others are run again once. Students, results and the summary are then held against those of an undisturbed run,
byte for byte, and the calls are counted at the teacher.
"""

import argparse
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.common import COUNTING, Home, home, save, table
from benchmarks.servers import free_port, mlflow_server, prefect_server

BUDGET = 60
STUDY = {
    **COUNTING,
    "study.budgets": [BUDGET],
    "study.methods": ["kd"],
    "study.seeds": [0],
    "train.steps": 40,
    "train.validate_every": 10,
    "train.checkpoint_every": 10,
    "teacher.batch_size": 2,
    "teacher.idempotent": True,
}
STAGES = [
    f"teach@{BUDGET}",
    f"compare@{BUDGET}",
    f"train@{BUDGET}-kd-0",
    f"evaluate@{BUDGET}-kd-0",
    "report",
    "register",
]


class Run:
    """One workspace of its own: a copy of one in which the data is prepared, with its own ledger and bill."""

    def __init__(self, place: Home, name: str, folder: Path, **more: str):
        self.folder = folder
        shutil.copytree(place.folder / "base", folder, dirs_exist_ok=True, symlinks=True)
        beside = place.folder / f"{name}.files"
        beside.mkdir()
        self.bill, self.log = beside / "bill.txt", beside / "log.txt"
        own = {"TUITION_LEDGER": str(beside / "ledger.db"), "BILL": str(self.bill), "DELAY": "0.1"}
        self.environment = {**place.environment(folder), **own, **more}

    def start(self, *arguments: str) -> psutil.Popen:
        return self.process("flows.distill", *arguments)

    def process(self, module: str, *arguments: str) -> psutil.Popen:
        with self.log.open("a") as log:
            command = [sys.executable, "-m", module, *arguments]
            return psutil.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def orphans(self, patience: float = 20.0) -> list[str]:
        """What still runs in the workspace after so many seconds, servers of its own aside."""
        end = time.monotonic() + patience
        while (left := self._running()) and time.monotonic() < end:
            time.sleep(0.5)
        return left

    def _running(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(self.folder):
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return [one for one in found if "worker start" not in one]

    def products(self) -> dict[str, bytes]:
        names = (
            "students/*/*",
            "results/*/metrics.json",
            "results/*/logits.npy",
            "report/summary.csv",
            "outputs/*/*.npy",
        )
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for name in names for path in self.folder.glob(name)
        }

    def calls(self) -> int:
        return len({line.split()[1] for line in self.bill.read_text().splitlines()}) if self.bill.exists() else 0


class Moment(NamedTuple):
    """When a fault strikes: so many seconds after the stage began. `share` in 0..1, for a fault that is no moment."""

    stage: str
    seconds: float
    share: float


Fault = Callable[[Run, Moment], bool]  # whether the flow came to its end itself


def driver_killed(run: Run, moment: Moment) -> bool:
    flow = run.start()
    _wait(run, flow, moment)
    return _killed(flow) == 0


def worker_killed(run: Run, moment: Moment) -> bool:
    """The worker of a deployment, which started the flow's process."""
    pool = f"pool-{run.folder.name}"
    for arguments in (
        ("work-pool", "create", pool, "--type", "process"),
        ("--no-prompt", "deploy", "flows/distill.py:distill", "-n", pool, "-p", pool),
        ("deployment", "run", f"distill/{pool}"),
    ):
        assert run.process("prefect", *arguments).wait(120) == 0, run.log.read_text()[-2000:]
    worker = run.process("prefect", "worker", "start", "--pool", pool, "--type", "process")
    _wait(run, worker, moment)
    _killed(worker)
    return False


def two_at_once(run: Run, moment: Moment) -> bool:
    one, other = run.start(), run.start()
    return sorted([one.wait(), other.wait()])[0] == 0


def disk_full(run: Run, moment: Moment) -> bool:
    """The workspace lies on a file system that has little left."""
    used = int(
        subprocess.run(["df", "--output=used", "-k", run.folder], capture_output=True, text=True).stdout.split()[1]
    )
    room = max(200, int(moment.share * 6000))  # KiB: a whole study takes some megabytes
    _resize(run.folder, used + room)
    ended = run.start("-S", "flows.retries=0").wait() == 0
    _resize(run.folder, 1024 * 512)
    return ended


def prefect_restarted(run: Run, moment: Moment) -> bool:
    port = free_port()
    run.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    with prefect_server(run.environment, port):
        flow = run.start()
        _wait(run, flow, moment)
    time.sleep(3)
    with prefect_server(run.environment, port):
        return flow.wait() == 0


def mlflow_down(run: Run, moment: Moment) -> bool:
    port, store = free_port(), run.log.parent
    run.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
    with mlflow_server(run.environment, store, port):
        flow = run.start()
        _wait(run, flow, moment)
    time.sleep(60)
    with mlflow_server(run.environment, store, port):
        ended = flow.wait() == 0
        return ended or (run.start().wait() == 0 and False)


FAULTS: dict[str, Fault] = {
    "driver killed": driver_killed,
    "worker killed": worker_killed,
    "prefect server restarted": prefect_restarted,
    "mlflow down a minute": mlflow_down,
    "disk full": disk_full,
    "two flows at once": two_at_once,
}


def _wait(run: Run, process: psutil.Popen, moment: Moment, patience: float = 300) -> None:
    """Until the moment has come, or the process has ended."""
    end, begun = time.monotonic() + patience, f"Running stage '{moment.stage}'"
    while begun not in run.log.read_text() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
        process.wait(moment.seconds)


def _killed(process: psutil.Popen) -> int:
    with suppress(psutil.NoSuchProcess):  # it had just ended by itself
        process.kill()
    return process.wait()


def _resize(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, in memory; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def strike(place: Home, name: str, number: int, moment: Moment, expected: dict[str, bytes], **more: str) -> dict:
    label = f"{name.replace(' ', '-')}-{number}"
    folder = place.folder / label
    with ExitStack() as stack:
        if name == "disk full":
            stack.enter_context(_small_disk(folder))
        run = Run(place, label, folder, **more)
        itself = FAULTS[name](run, moment)
        orphans = run.orphans()
        paid = run.calls()
        again = 0 if itself else _again(run)
        found = {
            "itself": itself,
            "orphans": orphans,
            "calls_at_the_fault": paid,
            "calls": run.calls(),
            "rerun": again,
            "complete": (run.folder / "report/registered.json").exists(),
            "identical": run.products() == expected,
        }
        if again or not found["identical"]:
            print(run.log.read_text()[-3000:])
    if found["identical"]:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _again(run: Run) -> int:
    run.environment.pop("MLFLOW_TRACKING_URI", None)  # its server is gone; the store of the workspace takes the study
    if run.environment.get("PREFECT_API_URL") and "prefect" in str(run.folder):
        run.environment.pop("PREFECT_API_URL")
    return run.start().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="of each fault")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="flow_faults", help="of the result file")
    args = parser.parse_args()
    if "disk full" in args.faults and os.geteuid() != 0:
        raise SystemExit("disk full: needs root, to mount a small file system; leave it out with --faults")
    rng = random.Random(args.seed)
    rows: list[dict] = []
    with home() as place, ExitStack() as stack:
        base = place.clone("base", STUDY)
        place.repro(base, "transfer", "pretrain")
        prefect_home = {"PREFECT_HOME": str(place.folder / "prefect")}
        port = free_port()
        stack.enter_context(prefect_server({**place.environment(base), **prefect_home}, port))
        more = {**prefect_home, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        calm_run = Run(place, "calm", place.folder / "calm", **more)
        assert calm_run.start().wait() == 0, calm_run.log.read_text()[-3000:]
        expected = calm_run.products()
        assert calm_run.calls() == BUDGET
        struck: dict[str, list[dict]] = {name: [] for name in args.faults}
        for number, name in itertools.product(range(args.times), args.faults):
            moment = Moment(rng.choice(STAGES), rng.uniform(0, 3), rng.random())
            one = strike(place, name, number, moment, expected, **more) | {"stage": moment.stage}
            struck[name].append(one)
            shown = {
                key: one[key] for key in ("stage", "itself", "calls_at_the_fault", "complete", "identical", "orphans")
            }
            print(name, number, shown, flush=True)
            rows = [row(fault, found) for fault, found in struck.items() if found]
            save(args.name, __doc__.strip().splitlines()[0], vars(args), rows)  # now already: it takes an hour
    table([{key: value for key, value in row.items() if not isinstance(value, list)} for row in rows])
    assert all(row["identical"] == row["complete"] == row["times"] and not row["orphans"] for row in rows)
    assert all(row["most_calls"] <= BUDGET for row in rows)


def row(fault: str, found: list[dict]) -> dict:
    return {
        "fault": fault,
        "times": len(found),
        **{key: sum(one[key] for one in found) for key in ("itself", "complete", "identical")},
        "most_calls": max(one["calls"] for one in found),
        "budget": BUDGET,
        "orphans": sum(len(one["orphans"]) for one in found),
        "struck_in": [one["stage"] for one in found],
        "paid_at_the_fault": [one["calls_at_the_fault"] for one in found],
    }


if __name__ == "__main__":
    main()

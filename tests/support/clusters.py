"""Real processes of a cluster for the tests of runners: an S3 server, clones that share nothing else, and Dask."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from support.workspaces import answers, free_port, wait_for

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
NOTES = """\
import pathlib, sys, time
with open("trained.txt", "a") as notes: notes.write(" ".join(sys.argv[1:]) + "\\n")
while pathlib.Path("stuck").exists(): time.sleep(0.1)
"""


@contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> Iterator[psutil.Popen]:
    with log.open("w") as out:
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        end(process)


def end(process: psutil.Popen) -> None:
    try:
        everyone = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in everyone:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    for one in psutil.wait_procs(everyone, timeout=10)[1]:
        one.kill()


@contextmanager
def s3(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """An S3 server with the bucket `shared`; its address."""
    import boto3

    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "-p", url.rpartition(":")[2]]
    with started(command, folder, environment, folder / "s3.txt") as server:
        wait_for(lambda: answers(url + "/moto-api/"), server, folder / "s3.txt")
        boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        ).create_bucket(Bucket="shared")
        yield url


def share(folder: Path, url: str) -> None:
    """Commit the workspace, with notes of what is trained there and the S3 server as DVC's remote."""
    train = folder / "stages/train/__main__.py"
    train.write_text(NOTES + train.read_text())
    (folder / ".dvc/config").write_text(
        (folder / ".dvc/config").read_text() + f"    remote = shared\n['remote \"shared\"']\n"
        f"    url = s3://shared/dvc\n    endpointurl = {url}\n"
    )
    for command in (["add", "-A", "."], ["commit", "--quiet", "-m", "Study"]):
        subprocess.run(
            ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *command], cwd=folder, check=True
        )


def clone(folder: Path, place: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(folder), str(place)], check=True)
    return place


@contextmanager
def dask(clones: list[Path], environment: dict[str, str], logs: Path) -> Iterator[tuple[str, dict[Path, psutil.Popen]]]:
    """A Dask scheduler and a worker in each of the clones: its address, and the workers."""
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--memory-limit",
        "0",
    ]
    workers: dict[Path, psutil.Popen] = {}
    with started(scheduler, logs, environment, logs / "scheduler.txt") as first:
        log = logs / "scheduler.txt"
        wait_for(lambda: "Scheduler at:" in log.read_text(), first, log)
        try:
            for place in clones:
                with (logs / f"worker-{place.name}.txt").open("w") as out:
                    workers[place] = psutil.Popen(
                        [*worker, "--local-directory", str(logs / place.name)],
                        cwd=place,
                        env={**environment, "PYTHONPATH": str(place)},
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
            for place, one in workers.items():
                log = logs / f"worker-{place.name}.txt"
                wait_for(lambda log=log: "Registered to:" in log.read_text(), one, log)
            yield address, workers
        finally:
            for one in workers.values():
                end(one)


def trained(place: Path) -> list[str]:
    """The cells that were trained in a workspace, such as `40 kd 0`."""
    notes = place / "trained.txt"
    return notes.read_text().splitlines() if notes.exists() else []

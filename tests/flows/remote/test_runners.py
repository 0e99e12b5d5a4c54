"""Cells on other machines: every worker has a clone of its own, and only an S3 server is between them and the driver."""

import json
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
from support import bill
from support.clusters import KEYS, clone, dask, end, s3, share, trained
from support.workspaces import DVC, distill, make_workspace, prefect_server, start_flow, wait_for

pytestmark = pytest.mark.timeout(1800)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PATIENCE = 1200  # seconds for a study


@pytest.fixture(scope="module")
def shared(tmp_path_factory, prepared):
    """A committed workspace whose remote is an S3 server, an environment that names a Prefect server, and a folder for logs."""
    folder, logs = tmp_path_factory.mktemp("driver"), tmp_path_factory.mktemp("logs")
    environment = make_workspace(folder, prepared, {"flows.parallel": 2}) | KEYS | ONE_THREAD
    environment["PREFECT_HOME"] = str(logs / "prefect")  # not in the repository that is cloned
    with s3(logs, environment) as url, prefect_server(logs, environment) as api:
        share(folder, url)
        yield folder, {**environment, "PREFECT_API_URL": api}, logs


@pytest.fixture(scope="module")
def cluster(shared, tmp_path_factory):
    folder, environment, logs = shared
    places = tmp_path_factory.mktemp("clones")
    clones = [clone(folder, places / name) for name in ("a", "b")]
    with dask(clones, environment, logs) as (address, workers):
        yield folder, environment, address, workers


def students(folder):
    return {path.relative_to(folder): path.read_bytes() for path in (folder / "students").rglob("*") if path.is_file()}


def by_threads(folder, environment, copy):
    """The students of the same study as the driver trains them: its stages' commands, in a copy of the workspace."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("students", ".dvc", ".prefect-home"))
    for method in ("ce", "kd"):
        command = [sys.executable, "-m", "stages.train", "40", method, "0"]
        subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
    return students(copy)


def is_complete(folder, environment):
    status = subprocess.run([*DVC, "status", "--json"], cwd=folder, env=environment, capture_output=True, text=True)
    assert json.loads(status.stdout) == {}
    again = subprocess.run([*DVC, "repro"], cwd=folder, env=environment, capture_output=True, text=True)
    assert "Data and pipelines are up to date" in again.stdout
    assert "Running stage" not in again.stdout


@pytest.mark.slow
def test_dask_workers_train_what_the_driver_would(cluster, tmp_path):
    folder, environment, address, workers = cluster
    done = distill(folder, environment, "--runner", "dask", "-S", f"flows.address={address}", patience=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attempt" not in done.stdout + done.stderr
    assert trained(folder) == []
    assert sorted(cell for place in workers for cell in trained(place)) == ["40 ce 0", "40 kd 0"]
    assert [len(trained(place)) for place in workers] == [1, 1]
    assert len(bill(folder)) == 40
    assert [bill(place) for place in workers] == [[], []]
    is_complete(folder, environment)
    assert students(folder) == by_threads(folder, environment, tmp_path / "copy")


@pytest.mark.slow
@pytest.mark.long
def test_a_cell_whose_worker_is_killed_is_trained_by_another(cluster):
    folder, environment, address, workers = cluster
    first, second = workers
    before = {place: len(trained(place)) for place in workers}
    for place in workers:
        (place / "stuck").touch()
    flow = start_flow(
        folder, environment, "--runner", "dask", "-S", f"flows.address={address}", "-S", "study.seeds=[1]"
    )
    try:
        log = folder / "out.txt"
        wait_for(lambda: all(len(trained(place)) > before[place] for place in workers), flow, log, PATIENCE)
        stages = workers[first].children(recursive=True)
        workers[first].kill()
        (second / "stuck").unlink()
        assert flow.wait(PATIENCE) == 0, log.read_text()
        assert "attempt" not in log.read_text()  # it was Dask that gave the cell to the other one
        assert psutil.wait_procs(stages, timeout=20)[1] == []
    finally:
        end(flow)
    assert trained(folder) == []
    assert sorted(trained(second)[before[second] :]) == ["40 ce 1", "40 kd 1"]
    is_complete(folder, environment)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seed"), [(signal.SIGTERM, 3), (signal.SIGKILL, 4)])
def test_cells_end_with_a_driver_that_is_ended(cluster, number, seed):
    """Dask's workers go on, but not with what nobody waits for."""
    folder, environment, address, workers = cluster
    place = list(workers)[-1]  # the other one was killed by the test above, where that ran
    before = len(trained(place))
    (place / "stuck").touch()
    flow = start_flow(
        folder, environment, "--runner", "dask", "-S", f"flows.address={address}", "-S", f"study.seeds=[{seed}]"
    )
    try:
        wait_for(lambda: len(trained(place)) > before, flow, folder / "out.txt", PATIENCE)
        stages = workers[place].children(recursive=True)
        flow.send_signal(number)
        assert psutil.wait_procs(stages, timeout=60)[1] == []
        assert workers[place].is_running()
    finally:
        end(flow)
        (place / "stuck").unlink()


@pytest.mark.slow
@pytest.mark.long
def test_ray_workers_train_too(shared, tmp_path):
    """A cluster of two on this machine, for the flow's duration."""
    folder, environment, _ = shared
    clones = [clone(folder, tmp_path / name) for name in ("a", "b")]
    environment = {**environment, "TUITION_CLONE": ":".join(map(str, clones))}
    changes = ["-S", "flows.address=null", "-S", "study.seeds=[2]"]
    done = distill(folder, environment, "--runner", "ray", *changes, patience=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attempt" not in done.stdout + done.stderr
    assert trained(folder) == []
    assert sorted(cell for place in clones for cell in trained(place)) == ["40 ce 2", "40 kd 2"]
    assert [len(trained(place)) for place in clones] == [1, 1]
    assert len(bill(folder)) == 40
    assert [bill(place) for place in clones] == [[], []]
    is_complete(folder, environment)

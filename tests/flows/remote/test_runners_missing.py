"""What a runner needs and does not find is told before a stage runs."""

import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from support import ROOT
from support.workspaces import distill, free_port, make_workspace

from flows.local.commands import Commands
from flows.local.lock import workspace_lock
from flows.remote import clones, runners
from tuition import params as parameters
from tuition.errors import Unreachable, UserError


@pytest.fixture
def place(tmp_path, prepared, monkeypatch):
    """The current folder: a workspace that a flow has locked, beside a folder `shared`."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    make_workspace(folder, prepared)
    (tmp_path / "shared").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv(clones.VARIABLE, raising=False)
    with workspace_lock("test"), temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield folder


def remote(folder, url):
    config = folder / ".dvc/config"
    config.write_text(config.read_text() + f"    remote = shared\n['remote \"shared\"']\n    url = {url}\n")


def opened(runner, address):
    with runners.open_runner(parameters.Flows(runner=runner, address=address), Commands()) as driver:
        return driver


def test_threads_import_neither_dask_nor_ray():
    code = "import sys, flows.distill; print(sorted({'dask', 'distributed', 'ray', 'prefect_dask', 'dvc'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_threads_need_nothing(place):
    assert opened("threads", None) is None


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_no_prefect_server(place, runner):
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(
            UserError, match=f"flows.runner: {runner}: workers report to a Prefect server; set PREFECT_API_URL"
        ),
    ):
        opened(runner, "tcp://somewhere:8786")


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_cluster_here_without_clones(place, runner):
    with pytest.raises(
        UserError, match=r"flows\.address: null starts workers on this machine, and TUITION_CLONE names no"
    ):
        opened(runner, None)


def test_no_remote(place):
    with pytest.raises(
        UserError, match=r"flows\.runner: dask: DVC has no remote, .* `dvc remote add --default shared "
    ):
        opened("dask", "tcp://somewhere:8786")


def test_a_remote_that_takes_no_files(place):
    remote(place, "/dev/null/shared")
    with pytest.raises(UserError, match=r"flows\.runner: ray: DVC's remote 'shared' takes no files: .*Not a directory"):
        opened("ray", "somewhere:6379")


def test_no_scheduler(place, monkeypatch):
    remote(place, place.parent / "shared")
    monkeypatch.setattr(runners, "PATIENCE", 2)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=f"flows.address: no Dask scheduler answers at {address}"):
        opened("dask", address)
    assert [one for one in (place.parent / "shared").rglob("*") if one.is_file()] == []  # the probe is gone


@pytest.mark.slow
def test_the_flow_tells_and_pays_nothing(place, prepared):
    environment = {**make_workspace(place.parent / "other", prepared), "PREFECT_API_URL": ""}
    done = distill(place.parent / "other", environment, "--runner", "dask")
    assert done.returncode == 1
    assert "error: flows.runner: dask: workers report to a Prefect server; set PREFECT_API_URL" in done.stderr
    assert not (place.parent / "other/bill.txt").exists()

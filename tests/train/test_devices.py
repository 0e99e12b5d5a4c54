"""Several processes that train one student: the student of one process up to rounding, and they live and die together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from support import PAID, ROOT, stage, write_params

from stages.arrays import read_json

SETS = {"ckd-mse": {"strategy": "in-batch", "k": 2}, "ckd-kl": {"strategy": "random", "k": 3}}
STUDY = {
    **PAID, "study.methods": ["ce", "kd", "ckd-mse", "ckd-kl"], "compare.sets": SETS, "compare.limit": 500,
    "train.devices": 2, "train.accelerator": "cpu",
}  # fmt: skip
LONG = {**STUDY, "train.steps": 300, "train.validate_every": 5, "train.checkpoint_every": 5}
SCRIPTS = Path(__file__).parent / "several"


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def bought(paid):
    write_params(paid, STUDY)
    for name in ("teach", "compare"):
        ran = stage(name, 40, cwd=paid)
        assert ran.returncode == 0, ran.stderr
    return paid


def torchrun(count: int, *args: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run `python args` as `count` processes, by the user's own launcher."""
    place = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(count)]
    command = [sys.executable, "-m", "torch.distributed.run", *place, *map(str, args)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests/train'}"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=env)


def files(folder: Path, cell: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "students" / cell).iterdir()}


def begin(folder: Path, *args: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "stages.train", *map(str, args)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(true, what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that train, by their number."""
    found = [one for one in psutil.Process(process.pid).children() if "RANK" in one.environ()]
    return sorted(found, key=lambda one: int(one.environ()["RANK"]))


def saved_anew(checkpoint: Path):
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    return lambda: checkpoint.exists() and checkpoint.stat().st_mtime_ns != before


def gone(processes: list[psutil.Process]) -> bool:
    return all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in processes)


def test_a_cell_of_two_processes(bought):
    """The same bytes every time, near those of one process, and by a launcher of the user's own too."""
    ran = stage("train", 40, "ckd-kl", 0, cwd=bought)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("train 40-ckd-kl-0: val top-1") == 1
    assert "Warning" not in ran.stderr
    first = files(bought, "40-ckd-kl-0")
    assert sorted(first) == ["history.csv", "meta.json", "student.json", "weights.safetensors"]
    assert read_json(bought / "speed/40-ckd-kl-0.json")["processes"] == 2
    ran = torchrun(2, "-m", "stages.train", 40, "ckd-kl", 0, cwd=bought)
    assert ran.returncode == 0, ran.stderr
    assert files(bought, "40-ckd-kl-0") == first
    write_params(bought, {**STUDY, "train.devices": 1})
    assert stage("train", 40, "ckd-kl", 0, cwd=bought).returncode == 0
    from safetensors.torch import load

    alone, together = load(files(bought, "40-ckd-kl-0")["weights.safetensors"]), load(first["weights.safetensors"])
    assert alone.keys() == together.keys()
    assert max(float((alone[key] - together[key]).abs().max()) for key in alone) < 1e-2

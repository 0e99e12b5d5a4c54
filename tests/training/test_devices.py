"""Several processes that train one student: the student of one process up to rounding, and they live and die together."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load
from support import PAID, ROOT, stage, write_params
from torch import nn

from tuition.errors import UserError
from tuition.files import read_json
from tuition.methods import METHODS
from tuition.params import Training
from tuition.training import processes
from tuition.training.batchnorm import synchronised

SETS = {"ckd-mse": {"strategy": "in-batch", "k": 2}, "ckd-kl": {"strategy": "random", "k": 3}}
STUDY = {
    **PAID,
    "study.methods": ["ce", "kd", "ckd-mse", "ckd-kl"],
    "compare.sets": SETS,
    "compare.limit": 500,
    "train.devices": 2,
    "train.accelerator": "cpu",
    "train.lr": 0.005,
}
LONG = {**STUDY, "train.steps": 60, "train.validate_every": 5, "train.checkpoint_every": 5}
ROUGH = ("fitnet", "ckd-fitnet", "ft", "rtk-like")  # whose gradients are large: single precision errs more


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
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=places())


def places() -> dict[str, str]:
    """The environment in which Python finds what the tests have beside them."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests/training'}"}


def train(folder: Path, *args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "stages.train", *map(str, args)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


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


def saved_anew(checkpoint: Path, process: subprocess.Popen):
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    def saved() -> bool:
        assert process.poll() is None, process.communicate()
        return checkpoint.exists() and checkpoint.stat().st_mtime_ns != before

    return saved


def gone(processes: list[psutil.Process]) -> bool:
    return all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in processes)


@pytest.mark.slow
def test_a_cell_of_two_processes(bought):
    """The same bytes every time, near those of one process, and by a launcher of the user's own too."""
    ran = train(bought, 40, "ckd-kl", 0)
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
    assert train(bought, 40, "ckd-kl", 0).returncode == 0
    alone, together = load(files(bought, "40-ckd-kl-0")["weights.safetensors"]), load(first["weights.safetensors"])
    assert alone.keys() == together.keys()
    assert max(float((alone[key] - together[key]).abs().max()) for key in alone) < 1e-2


@pytest.mark.slow
@pytest.mark.long
def test_in_double_precision_several_processes_are_one(tmp_path):
    """Outputs, gradients and running statistics on 13 images, for 2 and 3 processes, of losses that compare samples with each other."""
    for count in (2, 3):
        ran = torchrun(count, "-m", "support.processes.exact", tmp_path / "found.json", cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        found = read_json(tmp_path / "found.json")
        assert len(found) == 10
        assert max(found.values()) < 1e-8, found


@pytest.mark.slow
def test_every_method_trains_two_processes_to_the_student_of_one(tmp_path):
    """Two steps in single precision: what remains is the order of sums, which a second thread alters as much (up to 5e-4 with `ft`)."""
    names = [*METHODS, "icd+kd"]
    ran = torchrun(2, "-m", "support.processes.methods", tmp_path / "two.pt", *names, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    ran = subprocess.run(
        [sys.executable, "-m", "support.processes.methods", str(tmp_path / "one.pt"), *names],
        cwd=tmp_path,
        env=places(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    two, one = (torch.load(tmp_path / name, weights_only=True) for name in ("two.pt", "one.pt"))
    for name in names:
        (ours, rows), (theirs, others) = two[name], one[name]
        assert ours.keys() == theirs.keys()
        gap = max(float((ours[key] - theirs[key]).abs().max()) for key in ours)
        assert gap < (2e-3 if name in ROUGH else 3e-4), name
        for row, other in zip(rows, others, strict=True):
            assert row == pytest.approx(other, rel=1e-3, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.long
def test_killed_whole_or_in_part_it_resumes_to_the_same_student(bought):
    """Whatever of it is killed, launcher or one of the processes, nothing lives on, and the next run goes on from the checkpoint."""
    write_params(bought, LONG)
    ran = train(bought, 40, "ckd-kl", 0)
    assert ran.returncode == 0, ran.stderr
    expected = files(bought, "40-ckd-kl-0")
    checkpoint = bought / ".tuition/checkpoints/40-ckd-kl-0.pt"
    assert not checkpoint.exists()
    resumed = 0
    for victim in ("launcher", "first", "second", "all"):
        process = begin(bought, 40, "ckd-kl", 0)
        wait_for(saved_anew(checkpoint, process), "a checkpoint")
        both = workers(process)
        assert len(both) == 2, process.communicate()
        killed = {"launcher": [], "first": both[:1], "second": both[1:], "all": both}[victim]
        if victim in ("launcher", "all"):
            process.kill()
        for one in killed:
            one.kill()
        said, errors = process.communicate(timeout=120)
        resumed += "resuming at step" in said
        wait_for(partial(gone, both), f"the processes' end after the kill of {victim}")
        if victim in ("first", "second"):
            assert process.returncode == 1
            assert "was ended by SIGKILL" in errors or "failed with status" in errors
            assert "it goes on from its last checkpoint" in errors
        assert checkpoint.exists()
    ran = train(bought, 40, "ckd-kl", 0)
    assert ran.returncode == 0, ran.stderr
    assert "resuming at step" in ran.stdout
    assert resumed >= 2
    assert files(bought, "40-ckd-kl-0") == expected
    assert not checkpoint.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_whole(bought, sent):
    write_params(bought, LONG)
    checkpoint = bought / ".tuition/checkpoints/40-ce-0.pt"
    process = begin(bought, 40, "ce", 0)
    wait_for(saved_anew(checkpoint, process), "a checkpoint")
    both = workers(process)
    process.send_signal(sent)
    process.communicate(timeout=120)
    assert process.returncode == 128 + sent
    wait_for(lambda: gone(both), "the processes' end")


@pytest.mark.slow
@pytest.mark.long
def test_what_a_student_draws_by_itself_resumes_too(bought):
    """Dropout: each process has random numbers of its own, which a checkpoint keeps."""
    write_params(bought, {**LONG, "train.steps": 15, "student.arch": "torchvision:mobilenet_v3_small"})
    assert train(bought, 40, "ce", 0).returncode == 0
    expected = files(bought, "40-ce-0")
    process = begin(bought, 40, "ce", 0)
    wait_for(saved_anew(bought / ".tuition/checkpoints/40-ce-0.pt", process), "a checkpoint")
    process.kill()
    process.communicate(timeout=120)
    ran = train(bought, 40, "ce", 0)
    assert "resuming at step" in ran.stdout
    assert files(bought, "40-ce-0") == expected


@pytest.mark.slow
def test_a_checkpoint_of_another_number_of_processes_is_not_used(bought):
    write_params(bought, LONG)
    process = begin(bought, 40, "ce", 0)
    wait_for(saved_anew(bought / ".tuition/checkpoints/40-ce-0.pt", process), "a checkpoint")
    process.kill()
    process.communicate(timeout=120)
    write_params(bought, {**LONG, "train.devices": 1, "train.steps": 10})
    ran = train(bought, 40, "ce", 0)
    assert ran.returncode == 0
    assert "resuming" not in ran.stdout


@pytest.mark.slow
def test_a_teacher_of_two_processes(workspace):
    write_params(workspace, {"pretrain.devices": 2, "pretrain.accelerator": "cpu"})
    ran = subprocess.run(
        [sys.executable, "-m", "stages.pretrain"], cwd=workspace, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("pretrain resnet8: val top-1") == 1
    assert (workspace / "teacher/weights.safetensors").exists()


@pytest.mark.slow
@pytest.mark.long
def test_batches_that_do_not_divide(bought):
    """Three processes on batches of 16, and of 5: shares of 6, 5, 5 and 2, 2, 1."""
    for size in (16, 5):
        write_params(bought, {**STUDY, "train.devices": 3, "train.batch_size": size})
        ran = train(bought, 40, "ckd-mse", 0)
        assert ran.returncode == 0, ran.stderr
        together = load(files(bought, "40-ckd-mse-0")["weights.safetensors"])
        write_params(bought, {**STUDY, "train.devices": 1, "train.batch_size": size})
        assert train(bought, 40, "ckd-mse", 0).returncode == 0
        alone = load(files(bought, "40-ckd-mse-0")["weights.safetensors"])
        assert max(float((alone[key] - together[key]).abs().max()) for key in alone) < 1e-2


@pytest.mark.slow
@pytest.mark.long
def test_what_a_user_can_mend_is_said_once_and_before_training(bought):
    write_params(bought, {**STUDY, "train.devices": 17}, check=False)
    ran = train(bought, 40, "ce", 0)
    assert ran.returncode == 2
    assert "train.devices: found 17, but train.batch_size is 16" in ran.stderr
    write_params(bought, {**STUDY, "train.accelerator": "cuda"})
    if not torch.cuda.is_available():
        ran = train(bought, 40, "ce", 0)
        assert ran.returncode == 2
        assert "train.devices: found 2, but this machine has 0 GPUs; valid: train.accelerator: cpu" in ran.stderr
    write_params(bought, STUDY)
    (bought / "outputs/40/logits.npy").write_bytes(b"rubbish")
    ran = train(bought, 40, "kd", 0)
    assert ran.returncode == 2
    assert ran.stderr.count("error:") == 1
    assert "outputs/40/logits.npy: cannot be read" in ran.stderr
    assert "Traceback" not in ran.stderr
    ran = torchrun(3, "-m", "stages.train", 40, "ce", 0, cwd=bought)
    assert ran.returncode != 0
    assert ran.stderr.count("train.devices: found 2, but this machine was told to start 3 of 3 processes") == 1
    assert not (bought / "students/40-ce-0").exists()


def test_more_devices_than_gpus(monkeypatch):
    settings = Training(steps=1, devices=4, batch_size=64)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        UserError, match=r"found 4, but this machine has 2 GPUs; valid: 1 to 2, or train.accelerator: cpu"
    ):
        processes.check(settings, "train")
    processes.check(settings.model_copy(update={"devices": 2}), "train")
    processes.check(settings.model_copy(update={"accelerator": "cpu"}), "train")
    with pytest.raises(UserError, match="mps has one device"):
        processes.check(settings.model_copy(update={"accelerator": "mps"}), "train")
    with pytest.raises(UserError, match="valid: 1 to 32"):
        processes.check(settings.model_copy(update={"devices": 40, "accelerator": "cpu"}), "train", machines=2)


def test_a_norm_whose_statistics_cannot_be_shared_is_refused():
    class Odd(nn.BatchNorm2d):
        def forward(self, images):
            return images

    with pytest.raises(UserError, match=r"its module 0 is a Odd"):
        synchronised(nn.Sequential(Odd(3)), torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_dvc_repro_trains_with_two_processes(tmp_path):
    from test_pipeline import Workspace

    (tmp_path / "one").mkdir()
    study = Workspace(tmp_path / "one", tmp_path / "bill.txt")
    study.change(train__devices=2, train__accelerator="cpu", study__methods=["kd"])
    assert "train@40-kd-0" in study.repro()
    assert read_json(study.folder / "speed/40-kd-0.json")["processes"] == 2
    assert read_json(study.folder / "results/40-kd-0/metrics.json")
    assert study.repro() == []
    study.change(train__devices=1)
    assert "train@40-kd-0" in study.repro()
    assert "processes" not in read_json(study.folder / "speed/40-kd-0.json")

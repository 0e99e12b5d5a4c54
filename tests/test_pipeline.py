"""The whole pipeline through DVC, with a teacher that keeps its own bill: what runs, what is skipped, what is paid."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import COUNTING_TEACHER, PAID, ROOT, bill, copy_code, fork_server, templates, write_params

from tuition import forkserver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STUDY = {**PAID, "data.source": "mnist5k", "study.budgets": [40], "study.methods": ["ce", "kd"], "study.seeds": [0]}


class Workspace:
    """A git repository with the project's stages, its parameters made quick, and a paid teacher."""

    def __init__(self, folder: Path, bills: Path):
        self.folder, self.settings = folder, dict(STUDY)
        copy_code(folder, "tuition", "stages")
        templates.mlflow_database(folder / "mlflow.db")
        (folder / ".dvc").mkdir()
        for name in ("dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "paid.py").write_text(COUNTING_TEACHER)
        self.environment = {
            **os.environ,
            "BILL": str(bills),
            forkserver.VARIABLE: fork_server(),
            "PYTHONPATH": str(folder),
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self.change()
        for command in (["git", "init", "-q"], ["git", "add", "-A"]):
            subprocess.run(command, cwd=folder, check=True)
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, "commit", "-qm", "study"], cwd=folder, check=True)

    def change(self, **changes) -> None:
        self.settings |= {key.replace("__", "."): value for key, value in changes.items()}
        write_params(self.folder, self.settings)

    def dvc(self, *args: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "dvc", *args]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert not check or ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        return ran.stdout + ran.stderr

    def repro(self) -> list[str]:
        """Run `dvc repro`; the names of the stages that ran."""
        return re.findall(r"Running stage '([^']+)'", self.dvc("repro"))


@pytest.fixture
def bills(tmp_path):
    return tmp_path / "bill.txt"


@pytest.fixture
def study(tmp_path, bills):
    (tmp_path / "one").mkdir()
    return Workspace(tmp_path / "one", bills)


def cells(*names: str) -> set[str]:
    return {f"{stage}@{name}" for name in names for stage in ("train", "evaluate")}


ENDS = {"report", "register"}


def test_what_runs_and_what_is_paid(study, bills, tmp_path):
    every = {
        "prepare",
        "transfer",
        "encode",
        "pretrain",
        "teach@40",
        "estimate@40",
        "compare@40",
        *cells("40-ce-0", "40-kd-0"),
        *ENDS,
    }
    assert set(study.repro()) == every
    assert len(bill(tmp_path)) == 40
    assert (study.folder / "report/report.md").exists()

    assert study.repro() == []
    assert "up to date" in study.dvc("repro")

    study.change(methods__kd={"temperature": 2.0})
    assert set(study.repro()) == {"compare@40"} | cells("40-kd-0") | ENDS

    source = study.folder / "tuition/methods/kd.py"
    source.write_text(source.read_text() + "\n# edited\n")
    ran = set(study.repro()) - ENDS
    assert {"compare@40", "train@40-kd-0"} <= ran <= {"compare@40"} | cells("40-kd-0")  # and no other method's
    assert "train@40-kd-0" not in study.dvc("status")

    study.change(study__seeds=[0, 1])
    assert set(study.repro()) == cells("40-ce-1", "40-kd-1") | ENDS

    study.change(study__methods=["ce", "kd", "ckd-mse"], student__arch="wrn_16_1")
    ran = set(study.repro())
    assert cells("40-ckd-mse-0", "40-ce-0", "40-kd-1") <= ran
    assert "teach@40" not in ran
    assert len(bill(tmp_path)) == 40  # method, source, seed, student: nothing was paid again

    shutil.rmtree(study.folder)
    study.folder.mkdir()
    clone = Workspace(study.folder, bills)
    clone.change(study__methods=["ce"])
    assert "teach@40" in clone.repro()
    assert len(bill(tmp_path)) == 40  # the workspace was lost, the ledger was not

    clone.change(study__budgets=[40, 80])
    assert set(clone.repro()) == {"teach@80", "estimate@80", "compare@80", *cells("80-ce-0"), *ENDS}
    assert len(bill(tmp_path)) == len(set(bill(tmp_path))) == 80

    for command, shown in (
        (["metrics", "show"], "report/metrics.json"),
        (["plots", "show"], "plots"),
        (["params", "diff"], "study.methods"),
    ):
        assert shown in clone.dvc(*command)


def test_a_new_clone_with_the_dvc_cache_needs_no_teacher(study, bills, tmp_path, monkeypatch):
    """`dvc pull` of the frozen exports, then another seed: no ledger, no teacher, no call."""
    study.repro()
    study.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    study.dvc("push", "-q")
    other = tmp_path / "two"
    other.mkdir()
    clone = Workspace(other, bills)
    shutil.copy(study.folder / "dvc.lock", other / "dvc.lock")
    shutil.copy(study.folder / ".dvc/config", other / ".dvc/config")
    clone.environment |= {"TUITION_LEDGER": str(tmp_path / "none.db"), "BILL": str(tmp_path / "second/bill")}
    clone.dvc("pull", "-q", "--allow-missing", check=False)  # uncached figures live in git, not in the remote
    clone.change(study__seeds=[0, 1])
    ran = re.findall(r"Running stage '([^']+)'", clone.dvc("repro", "train@40-kd-1", "--allow-missing"))
    assert ran == ["train@40-kd-1"]
    assert not (tmp_path / "none.db").exists()


@pytest.mark.long
def test_killed_while_training_dvc_repro_goes_on_to_the_same_student(study, tmp_path):
    study.change(train__steps=300, train__validate_every=5, train__checkpoint_every=5, study__methods=["kd"])
    study.repro()
    weights = study.folder / "students/40-kd-0/weights.safetensors"
    expected = weights.read_bytes()
    checkpoint = study.folder / ".tuition/checkpoints/40-kd-0.pt"
    command = [sys.executable, "-m", "dvc", "repro", "-f", "-s", "train@40-kd-0"]
    process = subprocess.Popen(
        command, cwd=study.folder, env=study.environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # DVC and the stage
    process.wait()
    assert not weights.exists()  # DVC deletes a stage's outputs before it runs
    assert "resuming at step" in study.dvc("repro", "-f", "-s", "train@40-kd-0")
    assert weights.read_bytes() == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study__methods": ["ce", "kdd"]}, "study.methods: 'kdd' is not known. Did you mean 'kd'?"),
        ({"study__budgets": [5000]}, "study.budgets: 5000 calls, but the pool has"),
        ({"student__arch": "resnet9"}, "student.arch: 'resnet9' is not known"),
    ],
)
def test_dvc_repro_stops_on_bad_input_before_anything_is_paid(study, tmp_path, changes, message):
    from ruamel.yaml import YAML

    params = YAML().load((study.folder / "params.yaml").read_text())
    for key, value in changes.items():
        section, name = key.split("__")
        params[section][name] = value
    with (study.folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    assert message in study.dvc("repro", check=False)
    assert bill(tmp_path) == []

"""A registered student trained again in another folder, through real git and DVC, with a teacher that keeps its own bill."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import COUNTING_TEACHER, PAID, ROOT, bill, copy_code, write_params
from support.registry import NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
STUDY = {**PAID, "data.source": "mnist5k", "study.methods": ["kd"], "study.seeds": [0], "train.steps": 12}
METHOD = Path("tuition/methods/kd.py")


class Study:
    """A committed workspace with a registered student."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "study"
        self.folder.mkdir()
        self.bills = folder
        copy_code(self.folder, "tuition", "stages")
        (self.folder / ".dvc").mkdir()
        for name in ("dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, self.folder / name)
        (self.folder / "paid.py").write_text(COUNTING_TEACHER)
        self.environment = {
            **os.environ,
            "BILL": str(folder / "bill.txt"),
            "PYTHONPATH": str(self.folder),
            "TUITION_LEDGER": str(folder / "ledger.db"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        (self.folder / "raw").symlink_to("/mnt/pictures")  # tracked, and nothing that a student is made of
        write_params(self.folder, STUDY)
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "study")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dvc(self, *arguments: str) -> None:
        done = self.run(sys.executable, "-m", "dvc", *arguments)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def reproduce(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "tuition.cli", "reproduce", f"models:/{NAME}@champion", *arguments)

    def paid(self) -> tuple[list[str], str]:
        """The teacher's bill, and the ledger's bytes."""
        ledger = (self.bills / "ledger.db").read_bytes()
        return bill(self.bills), hashlib.sha256(ledger).hexdigest()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study(tmp_path_factory.mktemp("reproduce"))
    made.dvc("repro")
    assert len(bill(made.bills)) == 40
    return made


def test_the_champion_is_trained_again_to_the_bit_and_nobody_is_paid(study: Study) -> None:
    paid, status = study.paid(), study.git("status", "--porcelain")
    done = study.reproduce("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    weights = (study.folder / "students/40-kd-0/weights.safetensors").read_bytes()
    assert told["equal"]
    assert told["recorded"] == told["reproduced"] == hashlib.sha256(weights).hexdigest()
    assert "warning: left out raw, a link to /mnt/pictures" in done.stderr
    assert "kd-0: step 12/12" in done.stderr  # it was trained, not restored
    assert told["code"] == f"commit {study.git('rev-parse', 'HEAD').strip()}"
    assert "inputs from DVC's cache: comparisons/40, data, estimates/40, outputs/40" in done.stderr
    assert study.paid() == paid
    assert study.git("status", "--porcelain") == status
    assert study.git("worktree", "list").count("\n") == 1


@pytest.mark.long
def test_what_lies_in_the_workspace_has_no_say(study: Study) -> None:
    """Neither its code, nor its parameters, nor its students; and where the cache is empty, a remote will do."""
    saved = {name: (study.folder / name).read_bytes() for name in ("params.yaml", "dvc.lock", str(METHOD))}
    remote = study.bills / "remote"
    study.dvc("remote", "add", "--local", "-d", "store", str(remote))
    study.dvc("push")
    cache = study.folder / ".dvc/cache"
    cache.rename(study.bills / "cache")
    try:
        write_params(study.folder, {**STUDY, "train.steps": 3, "train.lr": 0.5})
        (study.folder / METHOD).write_text("raise RuntimeError('other code')\n")
        (study.folder / "dvc.lock").unlink()
        for name in ("outputs", "comparisons", "students"):
            shutil.rmtree(study.folder / name)
        paid = study.paid()
        done = study.reproduce("--folder", str(study.bills / "again"), "--name", NAME)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "DVC's cache lacks some of comparisons/40, data, estimates/40, outputs/40; pulling" in done.stdout
        assert "equal: the same weights, bit for bit" in done.stdout
        assert study.paid() == paid
        assert (study.bills / "again/students/40-kd-0/weights.safetensors").is_file()
        assert not (study.bills / "again/no-ledger.db").exists()
        second = study.reproduce("--folder", str(study.bills / "again"))
        assert (second.returncode, "there is something already" in second.stderr) == (2, True)

        shutil.rmtree(study.folder / ".dvc/cache")
        remote.rename(study.bills / "moved")
        lost = study.reproduce("--name", NAME)
        assert lost.returncode == 2
        assert (
            "neither DVC's cache nor a remote has all of comparisons/40, data, estimates/40, outputs/40" in lost.stderr
        )
        (study.bills / "moved").rename(remote)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        (study.bills / "cache").rename(cache)
        for name, content in saved.items():
            (study.folder / name).write_bytes(content)
        study.dvc("checkout")


@pytest.mark.long
def test_code_that_was_never_committed(study: Study) -> None:
    """It is taken from the workspace while it lies there; after that the difference is shown, and the exit status says so."""
    committed = (study.folder / METHOD).read_text()
    changed = committed.replace(
        "def forward(", "def forward(self, student, batch):\n        return self.was(student, batch)\n\n    def was("
    )
    assert changed != committed
    (study.folder / METHOD).write_text(
        changed.replace("self.was(student, batch)", "{k: 3 * v for k, v in self.was(student, batch).items()}")
    )
    study.dvc("repro", "train@40-kd-0")
    study.dvc("repro", "register")
    study.run(sys.executable, "-m", "tuition.cli", "promote", "--force", "--reason", "test")
    done = study.reproduce("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["code"] == "the code that lies here"

    (study.folder / METHOD).write_text(committed)
    done = study.reproduce("--json")
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert not told["equal"]
    assert told["recorded"] != told["reproduced"]
    assert told["largest_difference"] > 0
    assert "NOT equal: the weights differ, by at most " in told["says"]
    assert "warning: not the code that made this student: " in done.stderr
    assert "had changes that were not committed" in done.stderr

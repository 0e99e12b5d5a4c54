"""The train stage: reproducible, resumed to the same bits after kill −9, and free of what a bare GPU machine lacks."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from support import PAID, ROOT, stage, write_params

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.params import Training
from tuition.training.loop import rate
from tuition.training.state import TrainingState

SETS = {"ckd-mse": {"strategy": "in-batch", "k": 2}, "ckd-kl": {"strategy": "random", "k": 3}}
STUDY = {**PAID, "study.methods": ["ce", "kd", "ckd-mse", "ckd-kl"], "compare.sets": SETS, "compare.limit": 500}


@pytest.fixture
def bought(paid):
    write_params(paid, STUDY)
    for name in ("teach", "compare"):
        ran = stage(name, 40, cwd=paid)
        assert ran.returncode == 0, ran.stderr
    return paid


def weights(folder, cell):
    return (folder / "students" / cell / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("method", ["ce", "kd", "ckd-mse", "ckd-kl"])
def test_a_cell_trains_to_the_same_bytes_every_time(bought, method):
    cell = f"40-{method}-0"
    ran = stage("train", 40, method, 0, cwd=bought)
    assert ran.returncode == 0, ran.stderr
    first = {path.name: path.read_bytes() for path in (bought / "students" / cell).iterdir()}
    assert sorted(first) == ["history.csv", "meta.json", "student.json", "weights.safetensors"]
    assert stage("train", 40, method, 0, cwd=bought).returncode == 0
    assert first == {path.name: path.read_bytes() for path in (bought / "students" / cell).iterdir()}
    assert stage("train", 40, method, 1, cwd=bought).returncode == 0
    assert weights(bought, cell) != weights(bought, f"40-{method}-1")
    meta = read_json(bought / "students" / cell / "meta.json")
    assert (meta["samples"], meta["method"]) == (40, method)


def test_killed_at_any_step_it_resumes_to_the_same_student(bought):
    write_params(bought, {**STUDY, "train.steps": 200, "train.validate_every": 5, "train.checkpoint_every": 5})
    assert stage("train", 40, "ckd-kl", 0, cwd=bought).returncode == 0
    expected = weights(bought, "40-ckd-kl-0")
    checkpoint = bought / ".tuition/checkpoints/40-ckd-kl-0.pt"
    assert not checkpoint.exists()
    kills = resumed = 0
    while kills < 3:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.train", "40", "ckd-kl", "0"], cwd=bought, stdout=subprocess.PIPE, text=True
        )
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(0.05 * kills)
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[0]
        kills += 1
        resumed += "resuming at step" in said
    assert resumed >= 1
    ran = stage("train", 40, "ckd-kl", 0, cwd=bought)
    assert "resuming at step" in ran.stdout
    assert weights(bought, "40-ckd-kl-0") == expected
    assert not checkpoint.exists()


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_not_used(tmp_path):
    state = {"random": {"cpu": torch.get_rng_state()}, "progress": {"step": 5}}
    mine = TrainingState("cell", "digest", tmp_path)
    mine.write(state)
    assert mine.read(torch.device("cpu"))["progress"] == {"step": 5}
    assert TrainingState("cell", "other", tmp_path).read(torch.device("cpu")) is None
    mine.path.write_bytes(mine.path.read_bytes()[:100])
    assert mine.read(torch.device("cpu")) is None
    mine.remove()
    assert mine.read(torch.device("cpu")) is None


def test_the_student_kept_is_the_best_on_validation(bought):
    write_params(bought, {**STUDY, "train.steps": 30, "train.validate_every": 5})
    assert stage("train", 40, "ce", 0, cwd=bought).returncode == 0
    rows = (bought / "students/40-ce-0/history.csv").read_text().splitlines()
    names = rows[0].split(",")
    history = [dict(zip(names, map(float, row.split(",")), strict=True)) for row in rows[1:]]
    meta = read_json(bought / "students/40-ce-0/meta.json")
    assert meta["val_top1"] == max(row["val_top1"] for row in history)
    from tuition.inputs import images as inputs
    from tuition.models import load_student
    from tuition.training.loop import validator

    model, description = load_student(bought / "students/40-ce-0")
    images, labels = (
        torch.from_numpy(np.array(read_array(bought / f"data/val/{n}.npy"))) for n in ("images", "labels")
    )
    found = validator(images, labels, inputs.preprocessing(description))(model)
    assert found["val_top1"] == meta["val_top1"]


def test_rates():
    def at(step, **settings):
        return rate(Training(**{"steps": 100, "lr": 1.0, **settings}), step)

    assert [at(0), at(50), at(100)] == pytest.approx([1, 0.5, 0])
    assert [at(0, warmup=4), at(3, warmup=4), at(4, warmup=4)] == pytest.approx([0.25, 1, 1])
    stepped = {"schedule": "step", "milestones": [10, 20]}
    assert [at(9, **stepped), at(10, **stepped), at(20, **stepped)] == pytest.approx([1, 0.1, 0.01])
    assert at(99, schedule="constant") == 1


def test_the_student_sees_only_what_was_bought_and_learns_from_it(bought):
    """Above chance on held-out digits after a short training on 40 samples."""
    write_params(bought, {**STUDY, "train.steps": 60, "train.validate_every": 20, "train.lr": 0.1})
    for method in ("ce", "kd"):
        stage("train", 40, method, 0, cwd=bought)
        meta = read_json(bought / f"students/40-{method}-0/meta.json")
        assert meta["samples"] == 40
    assert read_json(bought / "students/40-ce-0/meta.json")["val_top1"] > 0.2


def test_a_missing_comparison_set_is_named(bought):
    (bought / "comparisons/40/ckd-mse/meta.json").write_text('{"strategy": "none"}')
    ran = stage("train", 40, "ckd-mse", 0, cwd=bought)
    assert ran.returncode == 2
    assert "compare.sets.ckd-mse" in ran.stderr


def test_training_and_teaching_import_without_prefect_dvc_and_mlflow():
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('prefect', 'dvc', 'mlflow'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import stages.train.__main__, stages.pretrain, stages.teach.__main__, tuition.teachers.checkpoint\n"
        "from tuition.methods import METHODS, load_class\n"
        "[load_class(name) for name in METHODS]\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env={**os.environ})
    assert ran.returncode == 0, ran.stderr


def test_errors_carry_the_files_name(bought):
    (bought / "outputs/40/logits.npy").write_bytes(b"rubbish")
    ran = stage("train", 40, "kd", 0, cwd=bought)
    assert ran.returncode == 2
    assert "outputs/40/logits.npy: cannot be read" in ran.stderr
    with pytest.raises(UserError, match="no such file"):
        read_json(bought / "nothing.json")

"""Teachers from files: the same weights are the same teacher, and what must be refused is refused before anything is paid."""

import os
import pickle

import torch
from safetensors.torch import load_file, save_file
from support import stage, write_params

from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger


class Payload:
    def __reduce__(self):
        return os.system, ("touch owned-by-a-pickle",)


def test_checkpoint_teachers(workspace):
    """Pretrained and used; then every kind of checkpoint that must be refused."""
    assert stage("pretrain", cwd=workspace).returncode == 0
    ran = stage("teach", 40, cwd=workspace)
    assert ran.returncode == 0, ran.stderr
    assert read_array(workspace / "outputs/40/embedding.npy").shape == (40, 64)
    first = read_json(workspace / "outputs/40/meta.json")["teacher"]["fingerprint"]
    weights = load_file(workspace / "teacher/weights.safetensors")

    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, workspace / "mine.pt")
    write_params(workspace, {"teacher.weights": "mine.pt"})
    assert (
        "0 new calls" in stage("teach", 40, cwd=workspace).stdout
    )  # the same weights in another file: the same teacher
    assert read_json(workspace / "outputs/40/meta.json")["teacher"]["fingerprint"] == first
    before = accounts.status(open_ledger())

    (workspace / "evil.pt").write_bytes(pickle.dumps(Payload()))
    (workspace / "cut.safetensors").write_bytes((workspace / "teacher/weights.safetensors").read_bytes()[:5000])
    head = next(k for k, v in weights.items() if v.ndim == 2)
    wide = {**weights, head: torch.zeros(100, 64), head.replace("weight", "bias"): torch.zeros(100)}
    save_file(wide, workspace / "hundred.safetensors")
    (workspace / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    (workspace / "run").mkdir()
    (workspace / "run/last.pt").touch()
    for changes, message in (
        ({"teacher.weights": "pointer.pt"}, "pointer.pt: not a readable file of weights: found a Git LFS pointer"),
        (
            {"teacher.weights": "run"},
            "teacher.weights: run: a folder, expected a file of weights; name one of those in it: last.pt",
        ),
        ({"teacher.weights": "evil.pt"}, "refused"),
        ({"teacher.weights": "cut.safetensors"}, "cut.safetensors: not a readable"),
        ({"teacher.weights": "none.safetensors"}, "no such file"),
        ({"teacher.weights": "hundred.safetensors"}, "this teacher knows 100 classes, but the data has 10"),
        ({"teacher.weights": "mine.pt", "teacher.arch": "wrn_16_1"}, "the weights do not fit wrn_16_1"),
        ({"teacher.weights": "mine.pt", "teacher.mean": [0.1, 0.2]}, "teacher.mean: found 2 values"),
    ):
        write_params(workspace, changes)
        ran = stage("teach", 40, cwd=workspace)
        assert ran.returncode == 2, ran.stderr
        assert message in ran.stderr
    assert not (workspace / "owned-by-a-pickle").exists()
    assert accounts.status(open_ledger()) == before

"""A planted key, searched for in all that a whole study writes: DVC's files and cache, MLflow, Prefect, the ledger, logs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, copy_code, fork_server, templates, write_params
from support.loopback import Server, status

from tuition import forkserver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SECRET = "s3cret-Key.with_odd~chars"
FORMAT = """
import json
import numpy as np
from tuition.teachers import HttpRequest, Reply

class Format:
    signals = ("logits",)
    def __init__(self, settings, data): pass
    def request(self, images, keys):
        sums = images.reshape(len(images), -1).sum(1, dtype=np.int64).tolist()
        return HttpRequest("/ask", json.dumps({"keys": list(keys), "sums": sums}).encode(), {})
    def read(self, body, headers, keys):
        answer = json.loads(body)
        return Reply({"logits": np.array(answer["scores"])}, input_tokens=0, output_tokens=answer["tokens"])
"""
WRITTEN = ("dvc.lock", "mlflow.db", "ledger.db", ".prefect-home/prefect.db", ".dvc/cache", "report/report.md")


@pytest.fixture
def study(tmp_path, prepared):
    """A repository of its own with a study whose teacher is a loopback server; (folder, environment, server)."""
    copy_code(tmp_path, "tuition", "stages", "flows")
    templates.mlflow_database(tmp_path / "mlflow.db")
    templates.prefect_home(tmp_path / ".prefect-home")
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", "prefect.toml", ".gitignore", ".dvcignore", ".dvc/config"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(prepared / "digits.npz", tmp_path)
    (tmp_path / "wire.py").write_text(FORMAT)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    environment = {
        **inherited,
        "PREFECT_HOME": str(tmp_path / ".prefect-home"),
        "TUITION_LEDGER": str(tmp_path / "ledger.db"),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "PLANTED": SECRET,
        forkserver.VARIABLE: fork_server(),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    with Server() as server:
        write_params(
            tmp_path,
            {
                "data.source": "npz:digits.npz",
                "study.budgets": [40],
                "study.methods": ["kd"],
                "train.steps": 4,
                "train.validate_every": 2,
                "evaluate.batch_size": 100,
                "teacher.kind": "http",
                "teacher.url": server.url,
                "teacher.format": "wire:Format",
                "teacher.batch_size": 1,
                "teacher.api_key_env": "PLANTED",
                "teacher.timeout": 20.0,
                "teacher.patience": 20.0,
                "teacher.max_malformed": 0.5,
                "teacher.canary": 1,
            },
        )
        yield tmp_path, environment, server


def test_a_planted_key_is_in_nothing_that_a_study_writes(study):
    """Also where the server says it back, in refusals, errors and answers that cannot be used."""
    folder, environment, server = study

    async def denies(server, request, writer) -> None:
        await status(401, f"no such key: {request.headers['authorization']}".encode())(server, request, writer)

    async def echoes(server, request, writer) -> None:
        server.processed.append("echo")
        await status(200, f'{{"you are": "{request.headers["authorization"]}"'.encode())(server, request, writer)

    def run() -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "flows.distill"]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)

    server.script.append(denies)
    refused = run()
    assert refused.returncode != 0
    assert "api_key_env" in refused.stdout + refused.stderr
    server.script.extend([status(429, SECRET.encode(), {"Retry-After": "0"}), status(500, SECRET.encode()), echoes])
    for _ in range(3):  # a canary of one answer stops at each that cannot be used
        done = run()
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert {one.headers["authorization"] for one in server.received} == {f"Bearer {SECRET}"}
    assert all(SECRET not in one.stdout + one.stderr for one in (refused, done))
    assert [name for name in WRITTEN if not (folder / name).exists()] == []
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [str(path) for path in files if SECRET.encode() in path.read_bytes()] == []

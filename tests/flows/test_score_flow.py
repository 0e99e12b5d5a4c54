"""The flow that classifies a folder, over a real registry, with a Prefect server of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import ROOT

ARTIFACT = """
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.request("GET", "/artifacts/{key}/latest", path_params={"key": "scores"}).json()["data"])
"""


def run(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
def test_a_folder_is_classified_as_a_flow(tmp_path: Path) -> None:
    from support.small_study import TEST, digits, make_study, write_cell

    make_study(tmp_path, methods=("ce",))
    write_cell(tmp_path, 100, "ce", 0, steps=20)
    (tmp_path / "prefect.toml").write_bytes((ROOT / "prefect.toml").read_bytes())
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    environment = {**inherited, "PREFECT_HOME": str(tmp_path / ".prefect-home"), "PYTHONPATH": str(ROOT)}
    done = run(tmp_path, environment, "-m", "stages.register")
    assert done.returncode == 0, done.stderr
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, image in enumerate(digits()[0][TEST][:5]):
        Image.fromarray(image[0]).save(inbox / f"{number}.png")
    (inbox / "notes.txt").write_text("no image")

    done = run(tmp_path, environment, "-m", "flows.score", "inbox", "--out", "out.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "out.csv: 6 files, 5 classified, 1 could not be read" in done.stdout + done.stderr
    assert (tmp_path / "out.csv").read_text().count("\n") == 7
    told = run(tmp_path, environment, "-c", ARTIFACT).stdout
    assert "# 6 files in inbox" in told
    assert "Classified by `models:/tuition-mnist5k@champion`" in told
    assert "- `notes.txt`: not an image that Pillow can read" in told

    failed = run(tmp_path, environment, "-m", "flows.score", "inbox", "--model", "models:/other@champion")
    assert failed.returncode == 1
    assert "no registered model 'other'" in failed.stderr
    assert not (tmp_path / "predictions.csv").exists()

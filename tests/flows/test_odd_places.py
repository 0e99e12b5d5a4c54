"""A whole study in a workspace whose path means something in an address: all its files lie in it."""

import pytest
from support import bill
from support.workspaces import distill, make_workspace

from tuition.files import read_json
from tuition.registry.present import why_missing
from tuition.workspace import Workspace


@pytest.mark.slow
@pytest.mark.long
def test_a_study_below_a_folder_with_a_percent_sign(tmp_path, prepared, monkeypatch):
    folder = tmp_path / "above/job%2Fx/study"
    environment = make_workspace(folder, prepared, {"study.methods": ["ce"]})
    done = distill(folder, environment, patience=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(bill(folder)) == 40
    assert [one.name for one in (tmp_path / "above").iterdir()] == ["job%2Fx"]
    assert len(list(folder.glob("mlruns/*/models/*/artifacts/MLmodel"))) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert why_missing(Workspace(folder), read_json(folder / "report/registered.json")) == ""

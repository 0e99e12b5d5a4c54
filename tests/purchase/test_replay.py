"""`tuition ledger replay`: what was bought is made again, and held against what is filed under it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support import bill, stage, write_params
from support.viewing import teach

from tuition.files import read_array, read_json


@pytest.fixture
def local(workspace):
    """A workspace with a teacher of its own, trained for a moment, and a budget of views."""
    assert stage("pretrain", cwd=workspace).returncode == 0
    write_params(workspace, {"teach.views": 3, "teach.flip": True, "study.budgets": [30]})
    assert stage("teach", 30, cwd=workspace).returncode == 0
    return workspace


def replayed(folder, *more):
    command = [sys.executable, "-m", "tuition.cli", "ledger", "replay", *map(str, more), "--json"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    return ran.returncode, json.loads(ran.stdout) if ran.stdout else ran.stderr


@pytest.mark.slow
def test_what_was_bought_can_be_made_again_and_a_local_teacher_still_says_so(local):
    code, found = replayed(local, 1000)
    assert (code, found["wrong"]) == (0, [])
    assert (found["replayed"], found["in_ledger"], found["asked_again"], found["not_asked"]) == (30, 30, 30, {})
    assert found["largest_difference"] < 1e-3
    said = subprocess.run(
        [sys.executable, "-m", "tuition.cli", "ledger", "replay", "7"], capture_output=True, text=True
    )
    assert "7 rows made again: samples and views are as recorded; 7 are in the ledger so" in said.stdout
    assert "7 asked again: answers differ by at most" in said.stdout

    out = local / "outputs/30"
    views, logits = (np.array(read_array(out / f"{name}.npy")) for name in ("views", "logits"))
    np.save(out / "logits.npy", np.concatenate([logits[:4], logits[4:5] + 0.1, logits[5:]]))
    code, found = replayed(local, 1000)
    assert code == 2
    assert len(found["wrong"]) == 2  # by the ledger and by the teacher
    assert all("outputs/30 row 4" in one for one in found["wrong"])
    assert any("the teacher's logits now differs by 0.1" in one for one in found["wrong"])
    np.save(out / "logits.npy", logits)

    swapped = views.copy()  # the answer of one view under the name of another
    swapped[[0, 1]] = swapped[[1, 0]]
    np.save(out / "views.npy", swapped)
    wrong = replayed(local, 1000)[1]["wrong"]
    assert sum("the ledger owns another" in one for one in wrong) == 2
    assert sum("the teacher's logits now differs" in one for one in wrong) == 2
    strange = views.copy()
    strange[3] = (-2, -2, 28, 28, 1) if not (views[3:6] == (-2, -2, 28, 28, 1)).all(1).any() else (2, 2, 28, 28, 1)
    np.save(out / "views.npy", strange)
    assert any("none of the 3 that are drawn" in one for one in replayed(local, 1000)[1]["wrong"])


@pytest.mark.slow
def test_a_paid_teacher_is_not_asked_again_and_a_clone_needs_neither_it_nor_a_ledger(paid, monkeypatch):
    assert teach(paid, 30).returncode == 0
    code, found = replayed(paid, 12)
    assert (code, found["replayed"], found["in_ledger"], found["asked_again"]) == (0, 12, 12, 0)
    assert sum(found["not_asked"].values()) == 12
    assert "asking it again may cost" in next(iter(found["not_asked"]))
    assert len(bill(paid)) == 30
    monkeypatch.setenv("TUITION_LEDGER", str(paid / "none.db"))
    assert replayed(paid, 12)[1]["in_ledger"] == 0
    assert not (paid / "none.db").exists()
    command = [sys.executable, "-m", "tuition.cli", "ledger", "import", "outputs/30"]
    assert subprocess.run(command, cwd=paid).returncode == 0
    assert "0 new calls" in teach(paid, 30).stdout
    assert len(bill(paid)) == 30
    shutil.rmtree(paid / "outputs")
    code, said = replayed(paid, 12)
    assert code == 2
    assert "no bought outputs to replay" in said


@pytest.mark.slow
def test_further_signals_of_views_are_one_more_call_each(local):
    write_params(
        local,
        {
            "teach.views": 3,
            "teach.flip": True,
            "study.budgets": [30],
            "teacher.signals": ["logits", "embedding", "pooled"],
        },
    )
    ran = stage("teach", 30, cwd=local)
    assert "30 new calls" in ran.stdout, ran.stderr
    assert read_json(local / "spend/30.json")["further_calls"] == 30
    assert read_array(local / "outputs/30/pooled1.npy").shape[0] == 30
    assert replayed(local, 30)[1]["wrong"] == []
    assert "0 new calls" in stage("teach", 30, cwd=local).stdout

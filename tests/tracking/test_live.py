import time
from pathlib import Path

import pytest
from support.small_study import make_study, student, write_cell

from tuition.tracking import Live, reconcile, store
from tuition.tracking.sync import SUPERSEDED


def test_reconcile_completes_the_run_that_training_began(workspace: Path) -> None:
    params = make_study(workspace, methods=("ce",))
    live = Live(params, 100, "ce", 0, after_seconds=0, every=0.05)
    history = student(4, 0)[1]
    for row in history:
        live.row(row | {"images": 64 * row["step"]})  # training may say more than it stores
    live.close()
    opened = store.connect_store(params.registry.name)
    begun = store.search_runs(opened, "tags.`tuition.cell` = '100-ce-0'")
    assert len(begun) == 1
    assert begun[0].data.metrics["curve/loss"] == history[-1]["loss"]
    write_cell(workspace, 100, "ce", 0, steps=4)
    done = reconcile(params)
    assert done["cells"] == {"100-ce-0": begun[0].info.run_id}
    assert len(opened.client.get_metric_history(begun[0].info.run_id, "curve/loss")) == 4  # none twice
    assert reconcile(params)["written"] == []


def test_a_killed_training_goes_on_in_the_same_run_and_another_training_does_not(workspace: Path) -> None:
    params = make_study(workspace, methods=("ce",))
    history = student(4, 0)[1]
    opened = store.connect_store(params.registry.name)
    for rows in (history[:2], history[1:3]):  # the second time it resumes from the checkpoint of step 1, and is cut too
        live = Live(params, 100, "ce", 0, after_seconds=0, every=0.05)
        for row in rows:
            live.row(row)
        live.close()
    (begun,) = store.search_runs(opened, "tags.`tuition.cell` = '100-ce-0'")
    steps = [point.step for point in opened.client.get_metric_history(begun.info.run_id, "curve/loss")]
    assert steps == [1, 2, 3]
    write_cell(workspace, 100, "ce", 0, steps=4, of=1)  # the code was changed since: the curves are others
    done = reconcile(params)
    assert done["cells"]["100-ce-0"] != begun.info.run_id
    assert done["superseded"] == [begun.info.run_id]
    assert opened.client.get_run(begun.info.run_id).data.tags[SUPERSEDED] == done["cells"]["100-ce-0"]


def test_a_short_cell_pays_nothing(workspace: Path) -> None:
    start = time.perf_counter()
    live = Live(make_study(workspace, methods=("ce",)), 100, "ce", 0)
    made = time.perf_counter()
    live.row({"step": 1, "loss": 2.0})
    live.close()
    assert time.perf_counter() - made < 0.5
    assert made - start < 10
    opened = store.connect_store("tuition-mnist5k")
    assert store.search_runs(opened, "") == []


def test_a_server_that_does_not_answer_costs_one_line(workspace: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    live = Live(make_study(workspace, methods=("ce",)), 100, "ce", 0, after_seconds=0, every=0.05)
    live.row({"step": 1, "loss": 2.0})
    live.close()
    live.row({"step": 2, "loss": 2.0})
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no live curves" in said


def test_a_store_that_breaks_midway_does_not_break_training(workspace: Path, capsys: pytest.CaptureFixture) -> None:
    (workspace / "mlflow.db").write_bytes(b"no database at all" * 100)
    live = Live(make_study(workspace, methods=("ce",)), 100, "ce", 0, after_seconds=0, every=0.05)
    live.row({"step": 1, "loss": 2.0})
    live.close(60)
    assert "warning: mlflow: no live curves" in capsys.readouterr().err

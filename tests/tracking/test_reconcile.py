import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.small_study import FILES, content, make_study, write_cell

from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import read_json, write_json
from tuition.tracking import reconcile, store
from tuition.tracking.sync import SUPERSEDED


def study_with_two_cells(root: Path) -> parameters.Params:
    params = make_study(root, methods=("ce", "kd"))
    write_cell(root, 100, "ce", 0, steps=3)
    write_cell(root, 100, "kd", 0, steps=4)
    return params


def test_a_cell_is_a_nested_run_with_all_that_its_files_say(workspace: Path) -> None:
    (workspace / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train@100-kd-0:\n    cmd: x\n    outs:\n"
        "    - {path: students/100-kd-0, hash: md5, md5: abc.dir, size: 1}\n"
    )
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "x"]):
        (workspace / "params.yaml").touch()
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], check=True)
    params = study_with_two_cells(workspace)
    done = reconcile(params)
    client = store.connect_store(params.registry.name).client
    assert set(done["cells"]) == {"100-ce-0", "100-kd-0"}
    assert done["written"] == ["100-ce-0", "100-kd-0"]
    run = client.get_run(done["cells"]["100-kd-0"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "100-kd-0"
    assert run.data.tags["mlflow.parentRunId"] == done["parent"]
    given = {"budget": "100", "method": "kd", "seed": "0", "methods.kd.temperature": "4.0", "student.arch": "resnet8"}
    assert given.items() <= run.data.params.items()
    assert run.data.metrics["top1"] == read_json(Path("results/100-kd-0/metrics.json"))["top1"]
    assert run.data.metrics["speed/seconds"] == 1.5
    assert run.data.metrics["calls"] == 100
    loss = client.get_metric_history(run.info.run_id, "curve/loss")
    assert [point.step for point in loss] == [1, 2, 3, 4]
    tags = run.data.tags
    assert tags["teacher.fingerprint"] == "f" * 64
    assert (tags["calls"], tags["cost"], tags["dvc.student"]) == ("100", "1.0", "abc.dir")
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["git.dirty"] == "true"  # params.yaml differs from what was committed
    inputs = {data.dataset.name: data.dataset for data in run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "outputs", "test"}
    assert tags["digest.test"] == read_json(Path("data/test/meta.json"))["digest"]
    assert inputs["test"].digest == tags["digest.test"][:32]
    assert json.loads(inputs["outputs"].source) == {"uri": "outputs/100"}
    parent = client.get_run(done["parent"])
    assert parent.data.params["train.lr"] == "0.05"
    assert parent.data.metrics["cells"] == 2
    assert [file.path for file in client.list_artifacts(done["parent"], "report")] == ["report/report.md"]


def test_the_second_time_nothing_is_written(workspace: Path) -> None:
    params = study_with_two_cells(workspace)
    first = reconcile(params)
    before = content(workspace / "mlflow.db")
    second = reconcile(params)
    assert content(workspace / "mlflow.db") == before
    assert second["written"] == second["superseded"] == []
    assert second["cells"] == first["cells"]


def test_a_changed_cell_is_a_new_run_and_the_old_one_comes_back_with_its_files(workspace: Path) -> None:
    params = study_with_two_cells(workspace)
    first = reconcile(params)
    write_cell(workspace, 100, "kd", 0, steps=2)
    second = reconcile(params)
    old, new = first["cells"]["100-kd-0"], second["cells"]["100-kd-0"]
    client = store.connect_store(params.registry.name).client
    assert second["written"] == ["100-kd-0"]
    assert second["superseded"] == [old]
    assert second["parent"] == first["parent"]
    assert second["cells"]["100-ce-0"] == first["cells"]["100-ce-0"]
    assert client.get_run(old).data.tags[SUPERSEDED] == new
    write_cell(workspace, 100, "kd", 0, steps=4)  # as DVC restores them from its cache
    third = reconcile(params)
    assert third["written"] == []
    assert third["cells"] == first["cells"]
    assert SUPERSEDED not in client.get_run(old).data.tags
    assert client.get_run(new).data.tags[SUPERSEDED] == old


@pytest.mark.parametrize("file", [f"{folder}/100-ce-0/{name}" for folder, names in FILES.items() for name in names])
def test_every_file_of_a_cell_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    from tuition.tracking.record import read_cell

    monkeypatch.chdir(tmp_path)
    params = study_with_two_cells(tmp_path)
    before = read_cell(params, 100, "ce", 0, {})
    path = Path(file)
    path.write_bytes((path.read_bytes() if path.is_file() else b"") + b"\n")
    after = read_cell(params, 100, "ce", 0, {})
    assert before is not None
    assert after is not None
    assert before.digest != after.digest


def test_a_new_seed_stays_in_the_study_and_another_student_is_another_study(workspace: Path) -> None:
    params = study_with_two_cells(workspace)
    first = reconcile(params)
    more = make_study(workspace, methods=("ce", "kd"), seeds=(0, 1))
    write_cell(workspace, 100, "ce", 1, steps=2)
    second = reconcile(more)  # 100-kd-1 has no results yet
    assert second["parent"] == first["parent"]
    assert second["written"] == ["100-ce-1"]
    other = params.model_copy(update={"student": parameters.Student(arch="resnet14")})
    third = reconcile(other)
    assert third["parent"] != first["parent"]
    assert len(third["written"]) == 2


def test_a_moved_workspace_keeps_its_artifacts(workspace: Path, tmp_path_factory, monkeypatch) -> None:
    params = study_with_two_cells(workspace)
    done = reconcile(params)
    moved = tmp_path_factory.mktemp("moved") / "here"
    shutil.move(workspace, moved)
    monkeypatch.chdir(moved)
    client = store.connect_store(params.registry.name).client
    assert Path(client.download_artifacts(done["parent"], "report/report.md")).read_text() == "# The study\n"
    assert client.get_run(done["parent"]).info.artifact_uri.startswith(str(moved))
    assert reconcile(params)["written"] == []
    workspace.mkdir()  # pytest takes it away in the end


def test_a_server_that_does_not_answer_is_said_so_without_its_password(workspace: Path, monkeypatch) -> None:
    params = study_with_two_cells(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI: no server answers at http://127.0.0.1:9") as error:
        reconcile(params)
    assert "secret" not in str(error.value)


def test_a_deleted_experiment_is_said_so(workspace: Path) -> None:
    opened = store.connect_store("gone")
    opened.client.delete_experiment(opened.experiment)
    with pytest.raises(UserError, match=r"'gone' was deleted; .*mlflow experiments restore -x"):
        store.connect_store("gone")


def test_damaged_results_are_said_so(workspace: Path) -> None:
    params = study_with_two_cells(workspace)
    Path("results/100-ce-0/metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"results/100-ce-0/metrics.json: cannot be read"):
        reconcile(params)
    write_json(Path("results/100-ce-0/metrics.json"), {"top1": 0.5})
    assert reconcile(params)["written"] == ["100-ce-0", "100-kd-0"]

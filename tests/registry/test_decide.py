"""The verdict over what the registry keeps, and the limits of `register.guard`."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.registry import NAME, tuition, write_figures
from support.small_study import TEST, digits, logits_of, student, write_cell

from stages.register.__main__ import main
from tuition.files import read_json
from tuition.tracking import store


def limit(**guard: float) -> None:
    """Set limits in params.yaml."""
    yaml = YAML()
    params = yaml.load(Path("params.yaml").read_text())
    params["register"]["guard"] = guard
    with Path("params.yaml").open("w") as file:
        yaml.dump(params, file)


def aliases() -> dict[str, str]:
    return {
        key: str(number) for key, number in store.connect_store(NAME).client.get_registered_model(NAME).aliases.items()
    }


def test_a_student_that_breaks_a_limit_is_not_promoted_however_good(workspace: Path) -> None:
    write_cell(workspace, 100, "kd", 0, steps=40)
    figures = write_figures(workspace, "100-kd-0")
    limit(max_ece=figures["ece"] / 2, max_latency_ms=2.0, max_bytes=10**6)
    main([])
    said = read_json(Path("report/registered.json"))
    assert (said["version"], said["aliases"]) == ("2", ["challenger"])
    assert aliases() == {"champion": "1", "challenger": "2"}
    assert f"max_ece: calibration error {figures['ece']:.4g} > {figures['ece'] / 2:.4g}" in said["reason"]
    checks = {check["check"]: check for check in said["verdict"]["checks"]}
    assert {name: check["passed"] for name, check in checks.items()} == {
        "paired test": True,
        "max_ece": False,
        "max_latency_ms": True,
        "max_bytes": True,
    }
    assert checks["max_latency_ms"]["found"] == 1.5
    kept = store.connect_store(NAME).client.get_model_version(NAME, "2").tags["verdict"]
    assert json.loads(kept) == said["verdict"]

    ran = tuition("promote", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["verdict"]) == (1, said["verdict"])
    limit(max_ece=figures["ece"])
    assert tuition("promote").exit_code == 0
    assert aliases()["champion"] == "2"


def test_the_recall_of_every_class_counts(workspace: Path) -> None:
    write_cell(workspace, 100, "kd", 0, steps=40)
    figures = write_figures(workspace, "100-kd-0")
    limit(min_class_recall=figures["worst_class_recall"] + 0.01)
    assert tuition("promote", "challenger", "--dry-run").exit_code == 0  # version 1 is champion and stays it
    main([])
    assert read_json(Path("report/registered.json"))["aliases"] == ["challenger"]
    limit(min_class_recall=figures["worst_class_recall"])
    main([])
    assert read_json(Path("report/registered.json"))["aliases"] == ["champion", "challenger"]


def test_the_first_one_must_keep_them_too(workspace: Path) -> None:
    shutil.rmtree("mlruns")
    Path("mlflow.db").unlink()
    limit(max_bytes=1000)
    main([])
    said = read_json(Path("report/registered.json"))
    assert said["aliases"] == ["challenger"]
    assert "there was no champion; but max_bytes: bytes of weights" in said["reason"]
    assert aliases() == {"challenger": "1"}
    assert tuition("promote", "--force", "--reason", "there is no smaller one").exit_code == 0
    assert aliases() == {"champion": "1", "challenger": "1"}


def test_a_version_keeps_what_it_was_judged_by_and_made_of(workspace: Path) -> None:
    opened = store.connect_store(NAME)
    version = opened.client.get_model_version_by_alias(NAME, "champion")
    kept = Path(opened.client.download_artifacts(version.run_id, "", str(workspace / "kept")))
    assert {path.name for path in (kept / "test").iterdir()} == {
        "labels.npy",
        "logits.npy",
        "metrics.json",
        "per_class.csv",
        "latency.json",
    }
    assert (kept / "lineage/params.yaml").read_bytes() == Path("params.yaml").read_bytes()
    assert (kept / "lineage/ids.npy").read_bytes() == Path("outputs/100/ids.npy").read_bytes()
    student_file = "student/weights.safetensors"
    assert (kept / student_file).read_bytes() == Path("students/100-kd-0/weights.safetensors").read_bytes()


def test_lineage_says_which_calls_at_what_cost(workspace: Path) -> None:
    told = json.loads(tuition("lineage", "--json").stdout)
    made = told["made_of"]
    assert (made["budget"], made["calls"], made["cost"], made["total_calls"]) == (100, 100, 1.0, 100)
    assert made["teacher"] == {"name": "digits-resnet14", "fingerprint": "f" * 64}
    assert made["outputs"]["path"] == "outputs/100"
    run = store.connect_store(NAME).client.get_run(told["run_id"])
    assert made["outputs"]["digest"] == run.data.tags["digest.outputs"]
    shown = tuition("lineage", f"models:/{NAME}/1").stdout
    assert "calls     100 of budget 100, cost 1\n" in shown
    assert f"teacher   digits-resnet14, fingerprint {'f' * 64}" in shown


def test_a_version_of_the_first_release_is_judged_and_gets_what_it_lacks(workspace: Path) -> None:
    """It kept test/logits.npy alone."""
    opened = store.connect_store(NAME)
    version = opened.client.get_model_version_by_alias(NAME, "champion")
    place = next((workspace / "mlruns").rglob("test/logits.npy")).parent
    for name in ("labels.npy", "metrics.json", "per_class.csv", "latency.json"):
        (place / name).unlink()
    for folder in ("lineage", "student"):
        shutil.rmtree(place.parent / folder)
    for key in ("budget", "total_calls", "total_cost", "made_with"):
        opened.client.delete_model_version_tag(NAME, "1", key)
    assert "calls     100 of budget 100, cost 1\n" in tuition("lineage").stdout
    assert "keeps no lineage/" in tuition("reproduce").output
    limit(max_ece=0.9)
    write_cell(workspace, 100, "ce", 0, steps=40)
    write_figures(workspace, "100-ce-0")
    main([])
    assert read_json(Path("report/registered.json"))["verdict"]["checks"][0]["passed"]
    assert tuition("promote", "1", "--dry-run").exit_code == 1
    assert "max_ece: not known, test/metrics.json of this version lacks it" in tuition("promote", "1").stdout
    write_cell(workspace, 100, "ce", 0, steps=2)  # the old student is the best again
    main([])
    assert "not registered again" in read_json(Path("report/registered.json"))["reason"]
    assert {path.name for path in (place.parent / "lineage").iterdir()} >= {"params.yaml", "calls.json"}
    assert "max_ece: calibration error" in tuition("promote", "1").stdout
    assert version.run_id == place.parents[1].name


def test_a_champion_without_logits_is_told(workspace: Path) -> None:
    next((workspace / "mlruns").rglob("test/logits.npy")).unlink()
    write_cell(workspace, 100, "ce", 0, steps=40)
    main([])
    said = read_json(Path("report/registered.json"))
    assert said["aliases"] == ["challenger"]
    assert "version 1, the champion, has no test logits left" in said["reason"]


@pytest.mark.parametrize("steps", [20])
def test_the_verdict_is_that_of_the_students_own_answers(workspace: Path, steps: int) -> None:
    labels = digits()[1][TEST]
    theirs = logits_of(student(steps, 0)[0], digits()[0][TEST]).argmax(1) == labels
    write_cell(workspace, 100, "ce", 0, steps=40)
    ours = logits_of(student(40, 0)[0], digits()[0][TEST]).argmax(1) == labels
    main([])
    test = read_json(Path("report/registered.json"))["verdict"]["checks"][0]
    assert (test["gained"], test["lost"]) == (int((ours & ~theirs).sum()), int((~ours & theirs).sum()))

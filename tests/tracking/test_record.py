"""What is told of a cell: names that MLflow takes, and the comparison set that the cell used."""

import mlflow
import pytest
from support import write_params

from tuition import params as parameters
from tuition.tracking.record import cell_params, study_digest, study_params

METHODS = {
    "study.methods": ["icd+kd", "mine"],
    "methods": {"icd+kd": {"weight_kd": 2.0}, "mine": {"method": "ckd-mse+kd", "labels": "none"}},
    "compare.sets": {"ckd-mse": {"strategy": "in-batch", "k": 2}},
}


def test_parameters_of_a_method_with_kd_reach_mlflow(workspace):
    write_params(workspace, METHODS)
    params = parameters.load()
    plus, mine = (cell_params(params, 40, name, 0) for name in params.study.methods)
    assert plus["methods.icd-plus-kd.weight_kd"] == "2.0"
    assert plus["method"] == "icd+kd"
    assert mine["compare.strategy"] == "in-batch"  # a variant's set is its method's where it has none of its own
    mlflow.set_tracking_uri(f"sqlite:///{workspace}/mlflow.db")
    with mlflow.start_run() as run:
        mlflow.log_params(plus)
        mlflow.log_params({f"study.{key}": value for key, value in study_params(params).items()})
    assert mlflow.get_run(run.info.run_id).data.params["methods.icd-plus-kd.weight_kd"] == "2.0"


def test_where_a_teacher_stands_and_how_it_is_asked_makes_no_other_study_and_shows_no_password(workspace):
    def told(more):
        asked = {"kind": "http", "format": "mine:Format", "version": "1", **more}
        write_params(workspace, {"teacher": {**asked, "name": "one"}, "teachers": [{**asked, "name": "two"}]})
        return parameters.load()

    first = told({"url": "https://somebody:hunter2@one.example/v1"})
    moved = told({"url": "https://two.example", "max_in_flight": 64, "timeout": 5.0, "requests_per_minute": 60})
    assert study_digest(first) == study_digest(moved)
    assert study_digest(first) != study_digest(told({"url": "https://two.example", "version": "2"}))
    assert "hunter2" not in str(study_params(first))


STUDY = """
study: {{budgets: [40], methods: [kd], seeds: [0]}}
teacher: {}
teachers: {}
pretrain: {{steps: 4}}
train: {{steps: 6}}
methods: {{kd: {{}}}}
"""
NETWORKS = "[{arch: resnet8, weights: a.pt}, {arch: resnet8, weights: b.pt}], free: {arch: resnet8, weights: c.pt}"


@pytest.mark.parametrize(
    ("teacher", "further", "digest"),
    [
        (
            "{name: digits, arch: resnet14, signals: [logits, map], taps: [layer1], mean: [0.5], std: [0.2]}",
            "[]",
            "806a4ffeca96e68ed7ded8b33866a5953b9cc0e1b9a3952a47042373856a275a",
        ),
        (
            "{kind: python, function: 'mine:scores', classes: 10, price: 0.5, cap: 9, idempotent: true, arch: resnet14}",
            "[]",
            "9b7a77d36a7ec8bb4f4d97d1892b394fb14374beffe60b7ce2e37f78328136cd",
        ),
        (
            f"{{kind: experts, experts: {NETWORKS}, choose: anti}}",
            "[]",
            "b0e2238047721242e9c9336580f699de004cf1ba031ec43ac348776dc9cdbae1",
        ),
        (
            "{kind: oip, url: 'http://one', model: m, options: {input: images}, resize: 16, timeout: 2.0}",
            "[]",
            "3ee3ebff37fb0255a06e27128e5c6d4ee906bbbb32cbfc2d3d4a25d0839875a6",
        ),
        (
            "{name: one}",
            "[{kind: python, name: two, function: 'mine:two'}, {kind: openai, name: three, url: 'http://x', model: m}, "
            "{kind: checkpoint, name: four, weights: w.pt, arch: resnet8}]",
            "8462b2086600d29d46a36675d71aaf87bc4c39ae59d76d0c058c83a1c649ed0f",
        ),
    ],
)
def test_a_study_keeps_the_identity_that_it_had_when_a_teachers_section_was_one_for_all_kinds(
    tmp_path, teacher, further, digest
):
    path = tmp_path / "params.yaml"
    path.write_text(STUDY.format(teacher, further))
    assert study_digest(parameters.load(path)) == digest

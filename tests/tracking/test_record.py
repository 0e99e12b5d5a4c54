"""What is told of a cell: names that MLflow takes, and the comparison set that the cell used."""

import mlflow
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

"""Data without any labels: what is refused, and a study whose students are held against answers that were bought for val and test."""

import io
import re
import shutil

import numpy as np
import pytest
from rich.console import Console
from support import PAID, bill, stage, write_params

from tuition.cli.study import print_summary
from tuition.files import read_array, read_json, write_array, write_json

STUDY = {
    **PAID,
    "study.budgets": [40, 80],
    "study.methods": ["kd"],
    "methods": {"kd": {}},
    "teach.evaluation": 12,
    "evaluate.batch_size": 100,
}


@pytest.fixture
def unlabelled(paid):
    """A workspace whose data has no label, and names its classes."""
    for split in ("train", "val", "test"):
        labels = paid / "data" / split / "labels.npy"
        write_array(labels, np.full(len(read_array(labels)), -1, dtype=np.int64))
    meta = read_json(paid / "data/meta.json")
    write_json(
        paid / "data/meta.json",
        meta | {"labelled": dict.fromkeys(("train", "val", "test"), 0), "evaluated_by": "teacher"},
    )
    return paid


def test_what_cannot_work_is_refused_before_a_call(unlabelled):
    for changes, says in (
        ({"teach.evaluation": 0}, "teach.evaluation: found 0, but no sample of val and test has a label"),
        ({"teach.evaluation": 40}, "teach.evaluation: 40 of a budget of 40 calls"),
        ({"teach.strategy": "balanced"}, "'balanced' deals out classes by their labels"),
        ({"study.methods": ["ce"], "methods": {"ce": {}}}, "'ce' learns the classes from labels alone, but"),
    ):
        write_params(unlabelled, {**STUDY, **changes})
        ran = stage("teach", 40, cwd=unlabelled)
        assert ran.returncode != 0
        assert says in ran.stderr + ran.stdout
    assert not bill(unlabelled)


def test_answers_for_val_and_test_are_paid_once_within_the_budget(unlabelled):
    write_params(unlabelled, STUDY)
    for budget, new in ((40, 28), (80, 40), (40, 0)):
        ran = stage("teach", budget, cwd=unlabelled)
        assert ran.returncode == 0, ran.stderr
        assert f"{new} new calls" in ran.stdout
    assert len(bill(unlabelled)) == len(set(bill(unlabelled))) == 80
    spend = read_json(unlabelled / "outputs/40/spend.json")
    assert (spend["calls"], spend["evaluation_calls"]) == (28, 12)
    known = {}
    for budget in (40, 80):
        for split, count in (("val", 4), ("test", 8)):
            folder = unlabelled / "outputs" / str(budget) / "evaluation" / split
            labels, logits = read_array(folder / "labels.npy"), read_array(folder / "logits.npy")
            ids = read_array(unlabelled / "data" / split / "ids.npy")
            assert len(labels) == len(ids)
            assert (labels >= 0).sum() == len(logits) == count
            places = [list(ids).index(one) for one in read_array(folder / "ids.npy")]
            assert labels[places].tolist() == logits.argmax(1).tolist()
            known[budget, split] = labels.tolist()
    assert known[40, "test"] == known[80, "test"]
    assert known[40, "val"] == known[80, "val"]

    shutil.rmtree(unlabelled / "transfer", ignore_errors=True)
    for step in (("transfer",), ("compare", 40), ("train", 40, "kd", 0), ("evaluate", 40, "kd", 0)):
        ran = stage(*step, cwd=unlabelled)
        assert ran.returncode == 0, ran.stderr
    figures = read_json(unlabelled / "results/40-kd-0/metrics.json")
    assert figures["against"] == "teacher"
    assert figures["n_test"] == 8
    logits, labels = read_array(unlabelled / "results/40-kd-0/logits.npy"), np.array(known[40, "test"])
    assert len(logits) == len(labels)
    write_params(unlabelled, {**STUDY, "study.budgets": [40]})
    assert (ran := stage("report", cwd=unlabelled)).returncode == 0, ran.stderr
    words = (unlabelled / "report/report.md").read_text()
    assert "every figure here is agreement with the teacher, not accuracy" in words
    assert "| agreement with the teacher % |" in words
    page = (unlabelled / "report/report.html").read_text()
    assert "<h2>Agreement with the teacher against calls and money</h2>" in page
    assert "<th>agreement</th>" in page
    assert "<th>teacher ↓ student →</th>" in page
    assert "agreement with the teacher of this student; 95 % interval" in page
    assert not re.search(r"accuracy|top-1", page, re.IGNORECASE)
    print_summary(unlabelled, Console(file=(printed := io.StringIO()), width=120))
    assert "Agreement with the teacher, %, on the test split" in " ".join(printed.getvalue().split())
    assert figures["top1"] == pytest.approx((logits.argmax(1) == labels)[labels >= 0].mean())


def test_bought_evaluation_is_refused_where_labels_cost_nothing(paid):
    write_params(paid, STUDY)
    ran = stage("teach", 40, cwd=paid)
    assert "val and test have labels, which cost no call" in ran.stderr + ran.stdout
    assert not bill(paid)

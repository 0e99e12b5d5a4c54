"""The stage `estimate` after a real purchase: what it writes, what it costs, and who refuses it when it is old."""

import importlib

import numpy as np
import pytest
from support import PAID, bill, stage, write_params

from tuition import estimates
from tuition.errors import UserError
from tuition.files import read_array, read_json, write_array


def choose(folder, estimator, **more):
    write_params(
        folder, {**PAID, "data.source": "mnist5k", "encode.source": "pixels", "estimate.estimator": estimator, **more}
    )


@pytest.fixture
def bought(paid):
    """40 bought answers, and features of the pixels."""
    choose(paid, "ridge")
    for name, *more in (("teach", 40), ("encode",)):
        assert stage(name, *more, cwd=paid).returncode == 0
    return paid


def test_the_rest_of_the_pool_is_estimated_and_nothing_is_paid(bought, monkeypatch):
    ran = stage("estimate", 40, cwd=bought)
    assert ran.returncode == 0, ran.stderr
    assert "is expected to be the teacher's" in ran.stdout
    assert len(bill(bought)) == 40
    rest, pool = estimates.read(40), len(read_array(bought / "data/train/ids.npy"))
    owned = read_array(bought / "outputs/40/positions.npy")
    assert sorted([*rest.positions, *owned]) == list(range(pool))
    assert (rest.probabilities.dtype, rest.probabilities.shape) == (np.float16, (pool - 40, 10))
    np.testing.assert_allclose(rest.probabilities.astype(float).sum(1), 1, atol=2e-3)
    meta = rest.meta
    assert meta["held_out"]["answers"] == 40
    assert meta["expected_agreement"]["share"] == pytest.approx(rest.confidence.mean(), abs=1e-4)
    monkeypatch.syspath_prepend(bought)
    teacher = importlib.import_module("paid")
    true = teacher.logits(read_array(bought / "data/train/images.npy")[rest.positions]).argmax(1)
    agreement = (rest.probabilities.argmax(1) == true).mean()
    assert agreement > 0.3  # of ten classes, at 40 answers
    assert meta["expected_agreement"]["low"] < agreement < meta["expected_agreement"]["high"]
    never = set(range(10)) - set(read_array(bought / "outputs/40/logits.npy").argmax(1).tolist())
    assert meta["classes_never_bought"] == [str(one) for one in sorted(never)]

    outputs = bought / "outputs/40/logits.npy"
    write_array(outputs, read_array(outputs) + 1)
    with pytest.raises(UserError, match=r"estimates/40: made from other answers \(sha256 .*run `dvc repro`"):
        estimates.read(40)


def test_students_join_the_estimate_by_answers_that_they_have_not_seen(bought):
    choose(bought, "ridge", **{"estimate.students": 2, "train.steps": 60})
    ran = stage("estimate", 40, cwd=bought)
    assert ran.returncode == 0, ran.stderr
    assert len(bill(bought)) == 40
    rest = estimates.read(40)
    assert "estimate-40-0: step 60/60" in ran.stdout + ran.stderr
    assert "estimate-40-1: step 60/60" in ran.stdout + ran.stderr
    assert set(rest.meta["settings"]) <= {"weight_ridge", "weight_students"}  # one that adds nothing is left out
    assert rest.meta["held_out"]["answers"] == 40
    with pytest.raises(UserError, match=r"students: found 1 with estimate\.estimator: ridge; valid: 0, or 2 and more"):
        choose(bought, "ridge", **{"estimate.students": 1})


def test_only_cells_that_learn_from_estimates_depend_on_them(bought):
    """Through their comparison sets, whose files are what a cell depends on."""
    study = {
        "study.methods": ["kd", "kd-pool"],
        "methods": {"kd": {}, "kd-pool": {"method": "kd", "rest": "estimated"}},
    }

    def drawn(estimator):
        choose(bought, estimator, **study)
        for name in ("estimate", "compare"):
            ran = stage(name, 40, cwd=bought)
            assert ran.returncode == 0, ran.stderr
        return [(bought / f"comparisons/40/{name}/meta.json").read_bytes() for name in study["study.methods"]]

    (few, pool), (few_again, pool_again) = drawn("ridge"), drawn("knn")
    assert few == few_again
    assert pool != pool_again


def test_by_default_nothing_is_read_or_made(paid):
    ran = stage("estimate", 40, cwd=paid)  # neither features nor outputs are there
    assert (ran.returncode, ran.stderr) == (0, "")
    assert read_json(paid / "estimates/40/meta.json") == {"estimator": "none"}
    with pytest.raises(UserError, match=r"estimates/40: no estimates, for estimate\.estimator is 'none'"):
        estimates.read(40)


def test_features_that_do_not_fit_are_refused(bought):
    choose(bought, "auto")
    train = bought / "features/train.npy"
    features = read_array(train).copy()
    for values, message in (
        (features[:-1], "features/train.npy: 539 rows, but data/train has 540 samples"),
        (np.where(np.arange(540)[:, None] == 7, np.nan, features), "features/train.npy: row 7 holds NaN or infinity"),
    ):
        write_array(train, values)
        ran = stage("estimate", 40, cwd=bought)
        assert (ran.returncode, message in ran.stderr) == (2, True), ran.stderr


def test_an_estimator_that_cannot_be_had_is_refused_before_anything_is_paid(paid):
    with pytest.raises(UserError, match=r"estimate.estimator: found 'rigde'.*'none', 'auto', 'ridge'"):
        choose(paid, "rigde")
    message = r"estimate.estimator: found 'auto', which reads features, but encode.source is 'none'"
    with pytest.raises(UserError, match=message):
        choose(paid, "auto", **{"encode.source": "none"})

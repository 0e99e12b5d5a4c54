"""The study's statistics against hand computation and scipy.stats."""

from math import isnan
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stages.report import study
from tuition.errors import UserError
from tuition.files import write_array
from tuition.params import load


@pytest.mark.parametrize("values", [[0.9, 0.92], [0.91, 0.93, 0.9], list(np.linspace(0.5, 0.9, 11))])
def test_interval_is_students_t(values):
    mean, low, high, sd = study.interval(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (low, high) == pytest.approx(expected)
    assert mean == pytest.approx(np.mean(values))
    assert sd == pytest.approx(stats.tstd(values))


def test_interval_by_hand():
    # mean 2, sd √2, t(0.975, 1) = 12.7062
    assert study.interval([1.0, 3.0]) == pytest.approx((2.0, 2 - 12.7062, 2 + 12.7062, 2**0.5), rel=1e-5)


def test_without_spread_there_is_no_interval():
    assert [isnan(x) for x in study.interval([0.9])] == [False, True, True, True]
    mean, low, high, sd = study.interval([0.3, 0.1 + 0.2, 0.3])  # equal but for rounding
    assert mean == pytest.approx(0.3)
    assert isnan(low)
    assert isnan(high)
    assert sd == 0.0


def test_p_is_the_paired_t_test():
    a, b = [0.90, 0.93, 0.91], [0.88, 0.90, 0.905]
    assert study.p_value([x - y for x, y in zip(a, b, strict=True)]) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert isnan(study.p_value([0.4]))
    assert isnan(study.p_value([0.4, 0.4]))
    assert study.p_value([0.0, 0.0]) == 1.0


def test_calls_needed():
    curve = [(100, 0.8), (400, 0.9), (1600, 0.95)]
    assert study.calls_needed(curve, 0.9) == ("about", pytest.approx(400))
    assert study.calls_needed(curve, 0.85) == ("about", pytest.approx(200))  # halfway on log2 between 100 and 400
    assert study.calls_needed(curve, 0.7) == ("at most", 100)
    assert study.calls_needed(curve, 0.96) == ("more than", 1600)
    assert study.calls_needed([(100, 0.8), (200, 0.7), (400, 0.9)], 0.8) == ("at most", 100)  # a curve that dips


def test_rows_of_a_study(make):
    root = make([400, 100], ["ce", "kd", "ckd-mse"], [0, 1, 2])
    found = study.collect_study(load())
    summary = study.summary_rows(found)
    assert [(r["budget"], r["method"]) for r in summary[:4]] == [
        (100, "ce"),
        (100, "kd"),
        (100, "ckd-mse"),
        (400, "ce"),
    ]
    assert len(study.cell_rows(found)) == 18
    top1 = [found["metrics"][400, "kd", s]["top1"] for s in range(3)]
    assert next(r["top1"] for r in summary if (r["budget"], r["method"]) == (400, "kd")) == pytest.approx(np.mean(top1))

    paired = study.paired_rows(found)
    assert len(paired) == 2 * (2 + 2)
    row = next(r for r in paired if (r["budget"], r["method"], r["baseline"]) == (400, "ckd-mse", "kd"))
    other = [found["metrics"][400, "ckd-mse", s]["top1"] for s in range(3)]
    assert row["difference"] == pytest.approx(100 * (np.mean(other) - np.mean(top1)))
    assert row["p"] == pytest.approx(stats.ttest_rel(other, top1).pvalue)
    # discordant answers explain the whole difference
    assert row["wins"] - row["losses"] == round(1000 * 3 * row["difference"] / 100)
    labels, wins = np.load(root / "data/test/labels.npy"), 0
    for s in range(3):
        a, b = (np.load(root / f"results/400-{m}-{s}/logits.npy").argmax(1) == labels for m in ("ckd-mse", "kd"))
        wins += int((a & ~b).sum())
    assert row["wins"] == wins


def test_needed_rows_name_the_baselines_biggest_budget(make):
    make([100, 400], ["ce", "kd", "ckd-mse"], [0, 1])
    found = study.collect_study(load())
    rows = study.needed_rows(found, study.summary_rows(found))
    own = next(r for r in rows if r["baseline"] == r["method"] == "kd")
    assert (own["relation"], own["calls"], own["baseline_calls"]) == ("about", pytest.approx(400), 400)
    worse = next(r for r in rows if r["baseline"] == "kd" and r["method"] == "ce")
    assert (worse["relation"], worse["calls"]) == ("more than", 400)


def test_a_figure_that_no_cell_has_is_nan(make):
    make([100], ["ce"], [0])
    found = study.collect_study(load())
    del found["metrics"][100, "ce", 0]["agreement_with_teacher"]  # a teacher that gives no logits
    assert isnan(study.summary_rows(found)[0]["agreement"])


def test_missing_cells_are_named(make):
    root = make([100, 400], ["ce", "kd"], [0, 1])
    (root / "results/400-kd-1/metrics.json").unlink()
    with pytest.raises(UserError, match=r"400-kd-1 \(1 of the study's 8 cells\).*dvc repro"):
        study.collect_study(load())


def test_files_of_different_runs_are_refused(make):
    root = make([100], ["ce", "kd"], [0])
    cell = Path("results/100-kd-0/logits.npy")
    logits = np.array(np.load(root / cell))
    write_array(root / cell, np.roll(logits, 1, axis=1))
    with pytest.raises(UserError, match=r"100-kd-0: logits.npy gives top1 .* metrics.json says"):
        study.collect_study(load())
    write_array(root / cell, logits[:-1])
    with pytest.raises(UserError, match="999 rows for 1000 test labels"):
        study.collect_study(load())

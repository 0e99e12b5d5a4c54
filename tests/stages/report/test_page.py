"""The page: what it holds, what it escapes, and its statistics against scipy."""

import json
import re
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stages.report import __main__ as report
from stages.report import cascade, confusion, intervals
from stages.report.forecast import forecast
from tuition.files import read_array, write_array, write_json
from tuition.tables import read_rows


def test_pooled_spread_is_the_residual_of_an_analysis_of_variance():
    groups = [[0.9, 0.92], [0.5, 0.55], [0.7, 0.71, 0.68]]
    scaled = [np.log(np.array(g) / (1 - np.array(g))) for g in groups]
    freedom = sum(len(g) - 1 for g in groups)
    sd = np.sqrt(sum((len(g) - 1) * np.var(g, ddof=1) for g in scaled) / freedom)
    found = intervals.pooled_spread(groups, 1000)
    assert (found.sd, found.freedom) == (pytest.approx(sd), freedom)
    mean, low, high = intervals.interval(groups[0], found, 1000)
    ends = stats.t.interval(0.95, freedom, loc=np.log(0.91 / 0.09), scale=sd / np.sqrt(2))
    assert (mean, low, high) == pytest.approx((0.91, *(1 / (1 + np.exp(-np.array(ends))))))


@pytest.mark.parametrize("values", [[1.0, 0.999], [0.0, 0.001], [0.2, 0.9]])
def test_intervals_of_two_seeds_stay_within_a_share(values):
    spread = intervals.pooled_spread([values], 1000)
    mean, low, high = intervals.interval(values, spread, 1000)
    assert 0 <= low <= mean <= high <= 1


def test_without_spread_no_interval():
    for groups in ([[0.9]], [[0.9, 0.9]], []):
        assert isnan(intervals.interval([0.9], intervals.pooled_spread(groups, 100), 100)[1])


@pytest.mark.parametrize(("count", "n"), [(0, 10), (7, 10), (10, 10), (970, 1000)])
def test_wilson(count, n):
    wanted = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert intervals.share_interval(count, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_a_forecast_is_least_squares_on_logarithms():
    calls, errors = [50, 100, 200, 400], [0.4, 0.31, 0.22, 0.17]
    line = stats.linregress(np.log(calls), np.log(errors))
    (found,) = forecast([(n, [1 - e]) for n, e in zip(calls, errors, strict=True)], [800], 1000)
    assert found.top1 == pytest.approx(1 - np.exp(line.intercept + line.slope * np.log(800)))
    assert 0 <= found.low < found.top1 < found.high <= 1
    assert forecast([(50, [0.6]), (100, [0.7])], [200], 1000) == []


def test_a_forecast_allows_for_a_curve_that_stops():
    steep = [(n, [1 - 4 / n]) for n in (50, 100, 200)]  # the law fits it without any residual
    (found,) = forecast(steep, [3200], 1000)
    assert found.low <= steep[-1][1][0] < found.top1


def test_the_cascade_by_hand():
    student = cascade.Answers(np.array([0.9, 0.5, 0.8, 0.6]), np.array([True, False, True, False]))
    found = cascade.curve(student, 1.0)
    assert found[0] == (0.0, 0.5, 0.5)
    assert found[10] == (0.5, 1.0, 1.0)
    assert cascade.promise(student, student, 0.95) is None  # four answers show nothing


WRONG = {  # the chance of an error of a student this sure
    "honest": lambda sure: 1 - sure,
    "equally wrong everywhere": lambda sure: np.full_like(sure, 0.06),
    "wrong where it is surest": lambda sure: np.where(sure > 0.97, 0.25, 0.02),
}


@pytest.mark.parametrize("student", WRONG)
@pytest.mark.parametrize("share", cascade.PROMISES)
def test_promises_hold_on_like_samples_as_often_as_stated(student, share):
    """Students draw samples of uniform sureness; the errors that they keep are known from the law of their errors, not from a draw."""
    grid = np.linspace(0.3, 1, 20_001)
    left = np.cumsum(WRONG[student](grid)[::-1])[::-1] / len(grid)  # of all answers, those kept from here on and wrong
    rng, broken, made = np.random.default_rng(0), 0, 0
    for draw in range(400):
        sure = rng.uniform(0.3, 1, (300, 1000)[draw % 2])
        own = cascade.Answers(sure, rng.uniform(size=len(sure)) >= WRONG[student](sure))
        found = cascade.promise(own, own, share)
        made += found is not None
        broken += found is not None and left[np.searchsorted(grid, found.threshold).clip(0, 20_000)] > 1 - share
    assert broken <= stats.binom.isf(0.01, 400, cascade.RISK)
    assert made or student == "wrong where it is surest"


def test_too_few_samples_promise_nothing():
    for share in cascade.PROMISES:
        least = cascade.fewest(share)
        best, worse = (cascade.Answers(np.linspace(0.5, 1, n), np.ones(n, bool)) for n in (least, least - 1))
        assert cascade.promise(best, best, share) is not None
        assert cascade.promise(worse, worse, share) is None


def test_confusion_leaves_out_what_is_not_known():
    given, wanted = np.array([0, 1, 1, 2]), np.array([0, 0, -1, 2])
    assert confusion.matrix(given, wanted, 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert confusion.confused(given, wanted, ["a", "b", "c"]) == [
        {"right": "a", "answer": "b", "count": 1, "share": 0.5}
    ]


@pytest.mark.parametrize(
    ("budgets", "methods", "seeds"), [([100], ["kd"], [0]), ([100, 200, 400], ["ce", "kd"], [0, 1])]
)
def test_the_page_asks_for_nothing_outside(make, budgets, methods, seeds):
    make(budgets, methods, seeds)
    report.main([])
    page = Path("report/report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"|url\((?!#)|@import|<script', page)
    assert f"What {budgets[-1]} calls bought" in page
    assert ("a curve needs three budgets" in page) == (len(budgets) < 3)
    cell = re.search(r"The best student, <b>(.*?)</b>", page)[1]
    right = read_array(f"results/{cell}/logits.npy").argmax(1) == read_array("data/test/labels.npy")
    wilson = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    ends = f"95 % interval {100 * wilson.low:.1f} % … {100 * wilson.high:.1f} % (another test set of this size)"
    assert f"<b>{100 * right.mean():.1f} %</b><span>accuracy of this student; {ends}" in page
    assert (f"mean of {len(seeds)} students of" in page) == (len(seeds) > 1)
    assert len(page) < 3_000_000
    classes = confusion.hardest(read_rows(Path(f"results/{budgets[-1]}-kd-0/per_class.csv")))
    assert classes[0]["recall"] == min(one["recall"] for one in classes) < classes[-1]["recall"]


def test_names_are_escaped(make):
    root = make([100], ["kd"], [0])
    meta = json.loads((root / "data/meta.json").read_text())
    write_json(root / "data/meta.json", meta | {"classes": ["<script>alert(1)</script>", *meta["classes"][1:]]})
    finding = {"name": "variety", "state": "failed", "found": "<b>same</b>", "advice": "<i>look</i>"}
    write_json(root / "outputs/100/plausible.json", {"checks": [finding], "repeats": None})
    report.main([])
    page = Path("report/report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;same" in page
    assert "<script" not in page


def test_a_thousand_classes_and_labels_that_are_known_in_part(make):
    """Only the pairs that are mistaken most often are shown, and what has no label counts nowhere."""
    root = make([100], ["kd"], [0])
    meta = json.loads((root / "data/meta.json").read_text())
    names = [f"a class with a name as long as a sentence, number {i}" for i in range(1000)]
    write_json(root / "data/meta.json", meta | {"classes": names})
    labels = read_array(root / "data/test/labels.npy")
    given = read_array(root / "results/100-kd-0/logits.npy").argmax(axis=1)
    labels = np.where(np.arange(len(labels)) % 3 == 0, labels, -1)
    write_array(root / "data/test/labels.npy", labels)
    place = root / "results/100-kd-0/metrics.json"
    write_json(place, json.loads(place.read_text()) | {"top1": float((given == labels)[labels >= 0].mean())})
    report.main([])
    page = Path("report/report.html").read_text()
    assert "number 999" not in page
    pairs = confusion.confused(given, labels, names)
    assert len(pairs) == confusion.PAIRS
    for pair in pairs:
        assert f'<td>{pair["right"]}</td><td class="left">{pair["answer"]}</td><td>{pair["count"]}</td>' in page
    assert f"on {(labels >= 0).sum()} test samples" in page

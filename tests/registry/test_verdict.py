import numpy as np
import pytest
from scipy.stats import binomtest

from tuition.registry.verdict import guard_checks, paired_test, verdict_of

LABELS = np.arange(200) % 10
METRICS, RECALLS, LATENCY = (
    {"ece": 0.04, "size_bytes": 320_000},
    {"cat": 0.9, "dog": 0.7},
    {"single_ms": 1.5, "device": "cpu"},
)


def right_on(rows: range) -> np.ndarray:
    """Logits (200, 10) that are right on these rows only."""
    answers = (LABELS + 1) % 10
    answers[rows] = LABELS[rows]
    return np.eye(10, dtype=np.float32)[answers]


@pytest.mark.parametrize(
    ("ours", "theirs", "gained", "lost", "promoted"),
    [
        (range(0, 150), range(0, 100), 50, 0, True),
        (range(0, 100), range(0, 150), 0, 50, False),  # as far from chance, but worse
        (range(0, 103), range(0, 100), 3, 0, False),  # better, but not beyond chance
        (range(0, 100), range(0, 100), 0, 0, False),
        (range(10, 140), range(0, 100), 40, 10, True),
    ],
)
def test_only_a_better_student_beyond_chance_is_promoted(ours, theirs, gained, lost, promoted) -> None:
    check = paired_test(right_on(ours), right_on(theirs), LABELS, 0.05)
    assert verdict_of([check])["promoted"] == check["passed"] == promoted
    assert f"{gained} gained, {lost} lost" in check["says"]
    assert (check["gained"], check["lost"], check["samples"], check["limit"]) == (gained, lost, 200, 0.05)
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert f"p = {p:.3g}" in check["says"]
    assert check["found"] == pytest.approx(p)


def test_alpha_decides() -> None:
    ours, theirs = right_on(range(0, 106)), right_on(range(0, 100))  # p = 2 / 64
    assert paired_test(ours, theirs, LABELS, 0.05)["passed"]
    assert not paired_test(ours, theirs, LABELS, 0.01)["passed"]


@pytest.mark.parametrize(
    ("limits", "passed", "says"),
    [
        ({"max_ece": 0.04}, True, "max_ece: calibration error 0.04 <= 0.04"),
        ({"max_ece": 0.039}, False, "max_ece: calibration error 0.04 > 0.039"),
        ({"min_class_recall": 0.7}, True, "min_class_recall: recall of class dog 0.7 >= 0.7"),
        ({"min_class_recall": 0.71}, False, "min_class_recall: recall of class dog 0.7 < 0.71"),
        ({"max_latency_ms": 1.5}, True, "max_latency_ms: ms an image on cpu 1.5 <= 1.5"),
        ({"max_latency_ms": 1.0}, False, "max_latency_ms: ms an image on cpu 1.5 > 1"),
        ({"max_bytes": 320_000}, True, "max_bytes: bytes of weights 320,000 <= 320,000"),
        ({"max_bytes": 319_999}, False, "max_bytes: bytes of weights 320,000 > 319,999"),
    ],
)
def test_a_limit_is_kept_or_broken(limits, passed, says) -> None:
    (check,) = guard_checks({"max_ece": None, **limits}, METRICS, RECALLS, LATENCY)
    assert (check["passed"], check["says"]) == (passed, says)
    assert (check["limit"],) == tuple(limits.values())


@pytest.mark.parametrize("key", ["max_ece", "min_class_recall", "max_latency_ms", "max_bytes"])
def test_what_is_not_known_keeps_no_limit(key) -> None:
    (check,) = guard_checks({key: 0.5}, {}, {}, {})
    assert not check["passed"]
    assert f"{key}: not known" in check["says"]


def test_no_accuracy_makes_up_for_a_broken_limit() -> None:
    better = paired_test(right_on(range(0, 150)), right_on(range(0, 100)), LABELS, 0.05)
    verdict = verdict_of([better, *guard_checks({"max_ece": 0.01, "max_bytes": 400_000}, METRICS, RECALLS, LATENCY)])
    assert not verdict["promoted"]
    assert verdict["reason"].endswith("< 0.05; but max_ece: calibration error 0.04 > 0.01")
    assert [check["check"] for check in verdict["checks"]] == ["paired test", "max_ece", "max_bytes"]

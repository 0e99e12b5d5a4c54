import numpy as np
import pytest
from scipy.stats import binomtest

from stages.register.promote import compare

LABELS = np.arange(200) % 10


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
    verdict = compare(right_on(ours), right_on(theirs), LABELS, 0.05)
    assert verdict.promoted == promoted
    assert f"{gained} gained, {lost} lost" in verdict.reason
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert f"p = {p:.3g}" in verdict.reason


def test_alpha_decides() -> None:
    ours, theirs = right_on(range(0, 106)), right_on(range(0, 100))  # p = 2 / 64
    assert compare(ours, theirs, LABELS, 0.05).promoted
    assert not compare(ours, theirs, LABELS, 0.01).promoted

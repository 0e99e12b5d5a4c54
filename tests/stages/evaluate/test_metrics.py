"""Metrics against hand-computed cases and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from stages.evaluate import metrics

LABELS = np.array([0, 1, 2, 1])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.45, 0.35, 0.2], [0.1, 0.3, 0.6], [0.05, 0.9, 0.05]])
LOGITS = np.log(PROBABILITIES) + 3.0  # any shift says the same


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 7, 500)
    logits = rng.normal(size=(500, 7)).astype(np.float32)
    logits[np.arange(500), labels] += 1.5
    return logits, labels


def test_by_hand():
    assert metrics.top_k(LOGITS, LABELS, 1) == 0.75
    assert metrics.top_k(LOGITS, LABELS, 2) == 1.0
    assert metrics.nll(LOGITS, LABELS) == pytest.approx(-np.log([0.7, 0.35, 0.6, 0.9]).mean())
    squares = [0.09 + 0.04 + 0.01, 0.2025 + 0.4225 + 0.04, 0.01 + 0.09 + 0.16, 0.0025 + 0.01 + 0.0025]
    assert metrics.brier(LOGITS, LABELS) == pytest.approx(np.mean(squares))
    classes = metrics.by_class(LOGITS, LABELS)
    assert classes["recall"].tolist() == [1.0, 0.5, 1.0]
    assert classes["precision"].tolist() == [0.5, 1.0, 1.0]
    assert classes["support"].tolist() == [1, 2, 1]


def test_calibration_by_hand():
    # two bins: the lower holds 0.45, a wrong answer; the upper 0.7, 0.6 and 0.9, all right
    table = metrics.reliability(LOGITS, LABELS, 2)
    assert table["count"].tolist() == [1, 3]
    assert table["confidence"] == pytest.approx([0.45, (0.7 + 0.6 + 0.9) / 3])
    assert table["accuracy"].tolist() == [0.0, 1.0]
    assert metrics.ece(LOGITS, LABELS, 2) == pytest.approx((0.45 + 3 * (1 - 2.2 / 3)) / 4)


def test_empty_bins_are_left_out():
    sure = np.array([[100.0, 0.0], [0.0, 100.0]])
    assert metrics.reliability(sure, np.array([0, 1]), 15)["count"].tolist() == [2]
    assert metrics.ece(sure, np.array([0, 1]), 15) == pytest.approx(0.0)


def test_equals_scikit_learn(drawn):
    logits, labels = drawn
    p = np.exp(metrics.log_softmax(logits))
    assert p.sum(axis=1) == pytest.approx(1.0)
    assert metrics.top_k(logits, labels, 1) == sk.accuracy_score(labels, logits.argmax(1))
    assert metrics.top_k(logits, labels, 5) == sk.top_k_accuracy_score(labels, logits, k=5)
    assert metrics.nll(logits, labels) == pytest.approx(sk.log_loss(labels, p))
    assert metrics.brier(logits, labels) == pytest.approx(sk.brier_score_loss(labels, p, scale_by_half=False))
    classes = metrics.by_class(logits, labels)
    assert classes["support"].tolist() == np.bincount(labels).tolist()
    figures = metrics.score(logits, labels, 15)
    assert figures["macro_f1"] == pytest.approx(sk.f1_score(labels, logits.argmax(1), average="macro"))
    assert figures["macro_recall"] == pytest.approx(sk.balanced_accuracy_score(labels, logits.argmax(1)))
    assert figures["worst_class_recall"] == classes["recall"].min()


def test_large_logits_do_not_overflow():
    assert metrics.nll(np.array([[1e4, 0.0]], dtype=np.float32), np.array([1])) == pytest.approx(1e4)


def test_ties_go_to_the_lower_class_as_in_argmax():
    logits = np.zeros((3, 3))
    assert metrics.top_k(logits, np.array([0, 1, 2]), 1) == pytest.approx(1 / 3)
    assert metrics.top_k(logits, np.array([0, 1, 2]), 2) == pytest.approx(2 / 3)


def test_a_class_without_samples_does_not_count():
    logits, labels = np.eye(3)[[0, 1]], np.array([0, 1])
    classes = metrics.by_class(logits, labels)
    assert all(np.isnan(classes[share][2]) for share in ("recall", "precision", "f1"))
    assert classes["support"][2] == 0
    figures = metrics.score(logits, labels, 15)
    assert (figures["macro_recall"], figures["macro_f1"]) == (1.0, 1.0)


def test_a_class_that_is_answered_and_has_no_samples_lowers_macro_f1_alone():
    figures = metrics.score(np.eye(3)[[0, 1, 2]], np.array([0, 1, 1]), 15)
    assert figures["macro_recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_top5_only_where_it_says_something():
    labels = np.array([0, 1])
    assert "top5" not in metrics.score(np.eye(4)[:2], labels, 15)
    assert metrics.score(np.eye(5)[:2], labels, 15)["top5"] == 1.0


def test_offset_finds_what_differences_cannot_see(drawn):
    teacher, labels = drawn
    shift = np.array([0, 9, 0, 0, 0, 0, 0], dtype=np.float32)
    student = teacher + shift
    assert metrics.offset(student, teacher) == pytest.approx(shift, abs=1e-5)
    assert metrics.top_k(student, labels, 1) < metrics.top_k(teacher, labels, 1)
    assert metrics.top_k(student - metrics.offset(student, teacher), labels, 1) == metrics.top_k(teacher, labels, 1)
    assert metrics.agreement(teacher, teacher) == 1.0
    assert metrics.agreement(np.eye(3), np.eye(3)[[0, 2, 1]]) == pytest.approx(1 / 3)


def test_retrieval_by_hand():
    # on a line: 0 at 0 and 3, 1 at 1 and 7. Query 0: 1 first, then its like, 1/2; query 3: 1 at two, then 0 at three: 1/2;
    # query 1: 0 at one, 0 at two, its like at six: 1/3; query 7: 3, 1: 1/2
    found = metrics.retrieval_map(np.array([[0.0], [3.0], [1.0], [7.0]]), np.array([0, 0, 1, 1]))
    assert found["map_euclidean"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_retrieval_equals_scikit_learn(drawn, monkeypatch):
    logits, labels = drawn
    monkeypatch.setattr(metrics, "BLOCK", 33)
    found = metrics.retrieval_map(logits, labels)
    wide = logits.astype(np.float64)
    for name, far in {
        "map_euclidean": np.linalg.norm(wide[:, None] - wide[None], axis=2),
        "map_cosine": 1 - sk.pairwise.cosine_similarity(wide),
    }.items():
        others = ~np.eye(len(labels), dtype=bool)
        each = [
            sk.average_precision_score(labels[others[i]] == labels[i], -far[i, others[i]]) for i in range(len(labels))
        ]
        assert found[name] == pytest.approx(np.mean(each), abs=1e-9)


def test_retrieval_of_clusters_is_perfect_and_angle_is_not_length():
    directions = np.array([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 9.0]])
    found = metrics.retrieval_map(directions, np.array([0, 0, 0, 1, 1, 1]))
    assert found["map_cosine"] == 1.0
    assert found["map_euclidean"] < 1.0
    assert metrics.retrieval_map(directions * [1, 100], np.array([0, 0, 0, 1, 1, 1]))["map_cosine"] == 1.0


def test_retrieval_where_nothing_tells_classes_apart():
    labels = np.array([0, 0, 1, 1, 1])
    # all at one place: every threshold takes in all four others
    assert metrics.retrieval_map(np.zeros((5, 3)), labels) == {
        "map_euclidean": pytest.approx((2 * 1 / 4 + 3 * 2 / 4) / 5),
        "map_cosine": pytest.approx((2 * 1 / 4 + 3 * 2 / 4) / 5),
    }


def test_retrieval_leaves_out_whom_nobody_resembles(monkeypatch):
    points, labels = np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1])
    assert metrics.retrieval_map(points, labels)["map_euclidean"] == 1.0
    assert metrics.retrieval_map(points, np.array([0, 1, 2])) == {}
    monkeypatch.setattr(metrics, "QUERIES", 2)  # the first and the last ask; the last has no like
    assert metrics.retrieval_map(points, labels)["map_euclidean"] == 1.0

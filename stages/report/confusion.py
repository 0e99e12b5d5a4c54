"""Which classes are taken for which, and how far confidence can be believed. Arrays only."""

from typing import Any

import numpy as np

WHOLE = 20  # classes up to which the whole matrix is shown
PAIRS = 15  # the most confused ones, where there are more
HARDEST = 20  # classes whose figures are shown


def matrix(given: np.ndarray, wanted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (C, C): rows are the right classes, columns what was answered; samples without a right one (−1) are left out."""
    known = np.asarray(wanted) >= 0
    pairs = np.asarray(wanted)[known].astype(np.int64) * classes + np.asarray(given)[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confused(given: np.ndarray, wanted: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """The pairs that are mistaken most often, each with its count and its share of the samples of the right class."""
    known = np.asarray(wanted) >= 0
    right, answer = np.asarray(wanted)[known].astype(np.int64), np.asarray(given)[known]
    support = np.bincount(right, minlength=len(names))
    wrong = right != answer
    pairs, counts = np.unique(np.stack([right[wrong], answer[wrong]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PAIRS]
    return [
        {"right": names[a], "answer": names[b], "count": int(n), "share": n / support[a]}
        for (a, b), n in zip(pairs[order], counts[order], strict=True)
    ]


def hardest(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Of results/<cell>/per_class.csv the classes of lowest recall, at most HARDEST: `label`, `support` and shares."""
    tested = sorted((row for row in rows if int(row["support"])), key=lambda row: float(row["recall"]))[:HARDEST]
    shares = ("recall", "precision", "f1")
    return [
        {"label": row["label"], "support": int(row["support"]), **{key: float(row[key]) for key in shares}}
        for row in tested
    ]


def reliability(logits: np.ndarray, wanted: np.ndarray, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, count) of each bin of confidence that holds a sample with a known class."""
    from stages.report.cascade import answers

    found = answers(logits, wanted)
    index = np.minimum((found.confidence * bins).astype(int), bins - 1)
    return [
        (
            float(found.confidence[index == one].mean()),
            float(found.right[index == one].mean()),
            int((index == one).sum()),
        )
        for one in np.unique(index)
    ]

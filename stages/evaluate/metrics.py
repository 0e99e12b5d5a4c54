"""What a classifier's logits are worth: pure functions of arrays, in float64.

N samples, C classes; logits (N, C) of any float type, labels (N,) of any integer type. Neither files nor torch here.
Where two logits are equal the class with the lower index comes first, as in `argmax`.
"""

import numpy as np

QUERIES = 10_000  # of retrieval_map, whose time grows with the square
BLOCK = 256  # queries at a time: BLOCK · N distances are in memory


def score(logits: np.ndarray, labels: np.ndarray, bins: int) -> dict[str, float | int]:
    """The figures that need no other model, of logits (N, C) and labels (N,); `top5` where there are five classes."""
    classes = by_class(logits, labels)
    figures: dict[str, float | int] = {
        "n_test": len(labels),
        "top1": top_k(logits, labels, 1),
        "nll": nll(logits, labels),
        "ece": ece(logits, labels, bins),
        "brier": brier(logits, labels),
        "macro_f1": float(np.nanmean(classes["f1"])),
        "macro_recall": float(np.nanmean(classes["recall"])),
        "worst_class_recall": float(np.nanmin(classes["recall"])),
    }
    if logits.shape[1] >= 5:
        figures["top5"] = top_k(logits, labels, 5)
    return figures


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities (N, C), natural logarithm, shifted by the largest logit so that nothing overflows."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of samples whose label is among the k highest logits."""
    logits = np.asarray(logits)
    own = np.take_along_axis(logits, labels[:, None], axis=1)  # (N, 1)
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)  # classes that come before the label
    return float((rank < k).mean())


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels, in nats a sample."""
    return float(-np.take_along_axis(log_softmax(logits), labels[:, None], axis=1).mean())


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance between probabilities and the one-hot label, summed over classes: 0 … 2 (Brier, 1950)."""
    error = np.exp(log_softmax(logits))
    error[np.arange(len(labels)), labels] -= 1.0
    return float(np.square(error).sum(axis=1).mean())


def reliability(logits: np.ndarray, labels: np.ndarray, bins: int) -> dict[str, np.ndarray]:
    """Mean confidence, accuracy and count of each non-empty bin of top-1 confidence.

    The `bins` bins have equal width and are open below and closed above, ((m−1)/bins, m/bins], as in Guo et al. (2017),
    "On Calibration of Modern Neural Networks". Every array is (bins that hold a sample,), in the order of confidence.
    """
    log_p = log_softmax(logits)
    confidence = np.exp(log_p.max(axis=1))
    right = np.asarray(logits).argmax(axis=1) == labels
    return reliability_of(confidence, right, bins)


def reliability_of(confidence: np.ndarray, right: np.ndarray, bins: int) -> dict[str, np.ndarray]:
    """The same of confidences (n,) in 0…1, and whether each answer is right (n,)."""
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    full = count > 0
    return {
        "confidence": np.bincount(index, weights=confidence, minlength=bins)[full] / count[full],
        "accuracy": np.bincount(index, weights=right, minlength=bins)[full] / count[full],
        "count": count[full],
    }


def ece(logits: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Expected calibration error: mean |accuracy − confidence| over the bins of `reliability`, weighted by count."""
    table = reliability(logits, labels, bins)
    return float((table["count"] * np.abs(table["accuracy"] - table["confidence"])).sum() / table["count"].sum())


def by_class(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """`recall`, `precision`, `f1` and `support`, the number of samples, of each class: (C,) each.

    What is a share of nothing is nan: the recall of a class without samples, the precision of one that is never answered, and the F1 of one
    that is neither. A mean over classes leaves these out, as scikit-learn's means do.
    """
    # By hand: to import scikit-learn takes longer than all else that a small cell's evaluation does. The tests hold it to that library.
    named, count = np.asarray(logits).argmax(axis=1), np.asarray(logits).shape[1]
    hits = np.bincount(labels[named == labels], minlength=count)
    support, answered = np.bincount(labels, minlength=count), np.bincount(named, minlength=count)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan
        recall, precision, f1 = hits / support, hits / answered, 2 * hits / (support + answered)
    return {"recall": recall, "precision": precision, "f1": f1, "support": support}


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of samples on which two models' highest logits name the same class."""
    return float((np.asarray(a).argmax(axis=1) == np.asarray(b).argmax(axis=1)).mean())


def offset(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The student's mean difference to the teacher, per class (C,).

    A loss on differences between samples is blind to one vector added to every sample's logits. Subtracting this vector
    from the student's logits puts them where the teacher's are on average.
    """
    return (np.asarray(student, dtype=np.float64) - np.asarray(teacher, dtype=np.float64)).mean(axis=0)


def retrieval_map(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean average precision of finding samples of the same class by embedding (N, d): `map_euclidean`, `map_cosine`.

    Each sample asks for its like among all others; at more than QUERIES samples, so many evenly spread ones ask. The average precision
    of a query is the mean, over the samples of its class, of the share of that class among all that are as near or nearer. A query
    without another sample of its class does not count; {} where there is none that has one.
    """
    vectors, labels = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    rows = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), QUERIES)).astype(np.int64))
    rows = rows[np.bincount(labels)[labels[rows]] > 1]
    if not len(rows):
        return {}
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    return {
        "map_euclidean": _map(vectors, labels, rows),
        "map_cosine": _map(unit, labels, rows),  # of unit vectors the squared distance is 2 − 2 cos: the same order
    }


def _map(vectors: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    squares = np.square(vectors).sum(axis=1)
    total = 0.0
    for block in np.array_split(rows, -(-len(rows) // BLOCK)):
        far = squares - 2 * vectors[block] @ vectors.T  # the squared distance but for the query's own square
        far[np.arange(len(block)), block] = np.inf  # nobody finds itself
        near_all = np.sort(far, axis=1)
        for row, query in enumerate(block):
            same = np.sort(far[row, labels == labels[query]])[:-1]
            precision = np.searchsorted(same, same, side="right") / np.searchsorted(near_all[row], same, side="right")
            total += precision.mean()
    return float(total / len(rows))

"""`data.imbalance` and `data.noise`: a training split made harder on purpose, for studies like that of arXiv 2007.01922.

Only the training split is altered: validation and test stay clean, and as balanced as the source. Pixels, and so ids, stay
too: what is owned of a sample is not paid again. A teacher that the pretrain stage makes learns from the altered split as
well, since it trains on `data/train`; it is then another teacher, with calls of its own. A teacher that you bring knows
nothing of the alteration.
"""

from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.params import Data
from tuition.sources.raw import UNKNOWN
from tuition.sources.split import Rows


def alter(train: Rows, classes: list[str], data: Data) -> tuple[Rows, dict[str, Any]]:
    """The training rows as `data.imbalance`, then `data.noise` ask, and what was done; ({} where both are off).

    Seeded by data.seed. A larger ratio keeps a subset of what a smaller one keeps, and of the same rows a larger share
    of noise flips all that a smaller one flips, to the same classes. Raises UserError where a class would end empty, and for
    samples without a label.
    """
    if data.imbalance == 1 and data.noise == 0:
        return train, {}
    if bare := int((train.labels == UNKNOWN).sum()):
        key = "imbalance" if data.imbalance > 1 else "noise"
        raise UserError(
            f"data.{key}: {getattr(data, key):g}, but {bare} of {len(train.labels)} training samples have no label, and it alters labels; "
            f"valid: {1 if key == 'imbalance' else 0}"
        )
    before = np.bincount(train.labels, minlength=len(classes))
    if data.imbalance > 1:
        train = train.take(long_tail(train.labels, classes, data.imbalance, np.random.default_rng([data.seed, 2])))
    after = np.bincount(train.labels, minlength=len(classes))
    labels = flip(train.labels, len(classes), data.noise, np.random.default_rng([data.seed, 3]))
    done = {
        "imbalance": data.imbalance,
        "noise": data.noise,
        "flipped": int((labels != train.labels).sum()),
        "classes_before": before.tolist(),
        "classes_after": after.tolist(),  # by the true labels
        "labels_after": np.bincount(labels, minlength=len(classes)).tolist(),  # as training sees them
    }
    return Rows(train.part, train.rows, train.ids, labels), done


def long_tail(labels: np.ndarray, classes: list[str], ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Which samples (N,) bool to keep so that class c of C has n_c = n_max · ratio^(−c/(C−1)) of them, rounded.

    n_max is the largest for which every class has enough: where all are of one size, that size.
    """
    sizes = np.bincount(labels, minlength=len(classes))
    shape = ratio ** (-np.arange(len(classes)) / (len(classes) - 1))
    wanted = np.floor((sizes / shape).min() * shape + 0.5).astype(np.int64)
    if wanted.min() < 1:
        name = classes[int(wanted.argmin())]
        raise UserError(
            f"data.imbalance: {ratio:g} leaves class {name!r} no training sample, the largest has {wanted.max()}; "
            f"valid: 1 to {2 * int(wanted.max())}"
        )
    keep = np.zeros(len(labels), bool)
    for label, count in enumerate(wanted):
        keep[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    return keep


def flip(labels: np.ndarray, classes: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """The labels (N,) with round(share · N) of them replaced by another class, every other class equally likely."""
    order, shift = rng.permutation(len(labels)), rng.integers(1, classes, len(labels))
    hit = order[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[hit] = (labels[hit] + shift[hit]) % classes
    return noisy


def told(done: dict[str, Any]) -> str:
    """What was done, in one line."""
    kept, all_, share = sum(done["classes_after"]), sum(done["classes_before"]), done["noise"]
    return (
        f"data.imbalance {done['imbalance']:g}: {kept} of {all_} training samples kept, {max(done['classes_after'])} of the largest "
        f"class, {min(done['classes_after'])} of the smallest; data.noise {share:g}: {done['flipped']} training labels replaced. "
        "Validation and test are untouched"
    )

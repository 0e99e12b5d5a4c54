"""Which samples are for training, validation and test: seeded, the same share of each class, no sample in two splits."""

from dataclasses import dataclass

import numpy as np

from tuition.errors import UserError
from tuition.inputs.kinds import INPUTS
from tuition.params import Data
from tuition.sources.raw import UNKNOWN, Raw

SPLITS = ("train", "val", "test")
RANK = ("test", "val", "train")  # who keeps a sample that several splits hold


@dataclass(frozen=True)
class Rows:
    """Rows of one part of the source, and the labels and content ids of those rows: of the originals, where samples were made smaller."""

    part: str
    rows: np.ndarray  # int64 (n,)
    ids: np.ndarray  # S64 (n,)
    labels: np.ndarray  # int64 (n,)

    def take(self, keep: np.ndarray) -> "Rows":
        return Rows(self.part, self.rows[keep], self.ids[keep], self.labels[keep])


def assign(raw: Raw, data: Data) -> tuple[dict[str, Rows], dict[str, int]]:
    """The rows of train, val and test, and the counts of duplicates (see `meta.json`).

    A split that the source lacks is drawn from train: first test, a share of all samples, then val, a share of what is
    left. Of samples with the same content test keeps its own, then val; duplicates within a split stay.
    Samples without a label are a class of their own when splits are drawn. Raises UserError where a split ends empty, or where train
    lacks a class and has a label for every sample.
    """
    found = {name: _rows(raw, name) for name in raw.parts}
    counts: dict[str, int] = {}
    if "test" not in found:
        total = sum(len(rows.ids) for rows in found.values())
        found["train"], found["test"] = draw(
            found["train"], round(data.test * total), np.random.default_rng([data.seed, 0])
        )
    found["train"], counts["train_in_test"] = _without(found["train"], found["test"])
    counts["val_in_test"] = 0
    if "val" in found:
        found["val"], counts["val_in_test"] = _without(found["val"], found["test"])
    else:
        count = round(data.val * len(found["train"].ids))
        found["train"], found["val"] = draw(found["train"], count, np.random.default_rng([data.seed, 1]))
    found["train"], counts["train_in_val"] = _without(found["train"], found["val"])
    for name in SPLITS:
        counts[f"within_{name}"] = len(found[name].ids) - len(np.unique(found[name].ids))
    counts["contradictory_train"] = _contradictory(found["train"])
    _check(found, raw.classes, data)
    return {name: found[name] for name in SPLITS}, counts


def draw(pool: Rows, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Split off `count` rows, the same share of each class: (the rest, the drawn), both in the pool's order.

    Shares are rounded so that the total is exact; a class never loses its last row.
    """
    classes, sizes = np.unique(pool.labels, return_counts=True)
    exact = sizes * (count / max(1, len(pool.labels)))
    quota = np.floor(exact).astype(np.int64)
    short = count - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:short]] += 1
    drawn = np.zeros(len(pool.labels), bool)
    for label, size, number in zip(classes, sizes, quota, strict=True):
        drawn[rng.permutation(np.flatnonzero(pool.labels == label))[: min(number, size - 1)]] = True
    return pool.take(~drawn), pool.take(drawn)


def _rows(raw: Raw, name: str) -> Rows:
    part, content_id = raw.parts[name], INPUTS[raw.inputs].content_id
    if part.originals is not None:
        return Rows(name, np.arange(len(part.labels)), part.originals.ids, part.labels)
    ids = np.array([content_id(image) for image in part.images], dtype="S64")
    return Rows(name, np.arange(len(ids)), ids, part.labels)


def _without(rows: Rows, others: Rows) -> tuple[Rows, int]:
    """The rows whose content is not among the others', and how many that dropped."""
    same = np.isin(rows.ids, others.ids)
    return rows.take(~same), int(same.sum())


def _contradictory(rows: Rows) -> int:
    """How many samples share their content with one that has another label; those without a label have no say."""
    rows = rows.take(rows.labels != UNKNOWN)
    _, inverse = np.unique(rows.ids, return_inverse=True)
    pairs = np.unique(np.stack([inverse, rows.labels]), axis=1)
    labels_of_content = np.bincount(pairs[0], minlength=1)
    return int((labels_of_content[inverse] > 1).sum()) if len(inverse) else 0


def _check(found: dict[str, Rows], classes: list[str], data: Data) -> None:
    for name in SPLITS:
        if not len(found[name].ids):
            drawn = found[name].part == "train" and name != "train"
            hint = (
                f"raise data.{name} ({getattr(data, name)}) or give more data"
                if drawn
                else "give it samples of its own"
            )
            raise UserError(f"{data.source}: the {name} split is empty; {hint}")
    if len(classes) < 2:
        hint = "" if all((rows.labels != UNKNOWN).all() for rows in found.values()) else " (the label −1 is none)"
        raise UserError(f"{data.source}: found only the class {classes[0]!r}; at least two are needed{hint}")
    missing = np.setdiff1d(np.arange(len(classes)), found["train"].labels)
    if len(missing) and (found["train"].labels != UNKNOWN).all():
        names = ", ".join(repr(classes[label]) for label in missing[:5])
        raise UserError(f"{data.source}: train has no samples of {len(missing)} classes ({names})")
    for keeper, other in (("test", "val"), ("test", "train"), ("val", "train")):
        shared = np.intersect1d(found[keeper].ids, found[other].ids)
        if len(shared):  # cannot happen; everything after this stage relies on it
            raise AssertionError(f"{len(shared)} samples are both in {keeper} and {other}")

"""The pool as a map: what was bought, what was not and how sure its estimate is, and where teacher and label differ."""

from typing import Any

import numpy as np
from markupsafe import Markup

from stages.report.best import Owned
from stages.report.charts import LINES, RULE, blank, inline
from tuition import features
from tuition.estimates import NONE
from tuition.files import read_array, read_json
from tuition.workspace import Workspace

MOST = 1500  # samples that were not bought, and as many bought ones, that are drawn: the page stays small
FITTED = 100_000  # samples by which the directions are found
SURE = 0.8  # of an estimate

Layer = tuple[str, np.ndarray, dict[str, Any]]  # name and number in the legend, rows of the pool, how they are drawn


def pool_map(budget: int, owned: Owned | None) -> Markup | None:
    """The pool's features on their two principal components; None where there are no features, or nothing is known of what was bought."""
    here = Workspace()
    if owned is None or not here.encoded.meta.is_file() or features.about()["source"] == features.NONE:
        return None
    rows = features.about()["rows"].get("train", 0)
    every = features.read("train", rows)
    if every.shape[1] < 2:
        return None
    layers = _layers(budget, owned, rows)
    shown = np.concatenate([one for _, one, _ in layers])
    places, share = _plane(every, shown)
    with blank(6.4, 4.6) as (figure, axes):
        start = 0
        for name, one, drawn in layers:
            part = places[start : start + len(one)]
            axes.plot(part[:, 0], part[:, 1], ls="", mew=0.8, label=name, **drawn)
            start += len(one)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"first two principal components of the features: {100 * share:.0f} % of their variance")
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        return inline(figure, "map of the pool")


def _layers(budget: int, owned: Owned, rows: int) -> list[Layer]:
    """What is drawn, from the ground up: the unbought, by how sure their estimates are, and the bought."""
    bought = np.unique(owned.positions)
    rest = np.setdiff1d(np.arange(rows), bought)
    unsure = _unsure(budget, rows)
    drawn = np.isin(np.arange(rows), _some(rest))
    differs = (owned.labels >= 0) & (owned.teacher >= 0) & (owned.labels != owned.teacher)
    apart = np.unique(owned.positions[differs])
    agreed = np.setdiff1d(bought, apart)
    if unsure is None:
        ground = [("not bought", rest, RULE)]
    else:
        ground = [("not bought, estimate sure", rest[~unsure[rest]], RULE)]
        ground += [("not bought, estimate unsure", rest[unsure[rest]], LINES[4])]
    found: list[Layer] = [
        (f"{name} ({len(one):,})", one[drawn[one]], {"marker": "o", "ms": 2.5, "color": colour})
        for name, one, colour in ground
    ]
    found.append((f"bought ({len(agreed):,})", _some(agreed), {"marker": "o", "ms": 4, "color": LINES[0]}))
    name = f"bought, teacher and label differ ({len(apart):,})"
    found.append((name, _some(apart), {"marker": "x", "ms": 6, "color": LINES[1]}))
    return [layer for layer in found if len(layer[1])]


def _unsure(budget: int, rows: int) -> np.ndarray | None:
    """(N,) bool: whose estimate has a confidence below SURE; None where there are no estimates."""
    files = Workspace().estimates(budget)
    if not files.meta.is_file() or read_json(files.meta)["estimator"] == NONE:
        return None
    unsure = np.zeros(rows, dtype=bool)
    unsure[read_array(files.positions)] = np.asarray(read_array(files.confidence)) < SURE
    return unsure


def _some(rows: np.ndarray) -> np.ndarray:
    """At most MOST of them, the same ones each time, spread over all."""
    return rows if len(rows) <= MOST else rows[np.linspace(0, len(rows) - 1, MOST).astype(np.int64)]


def _plane(every: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, float]:
    """The rows `shown` (m,) of features (N, D) on the two directions of most variance, (m, 2), and the share of variance there."""
    few = np.asarray(every[:FITTED], dtype=np.float64)
    mean = few.mean(axis=0)
    variances, axes = np.linalg.eigh((few - mean).T @ (few - mean))
    plane = axes[:, [-1, -2]]
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])  # a direction has no sign: one is chosen
    total = float(variances.clip(0).sum())
    return (every[shown] - mean) @ plane, float(variances[-2:].sum()) / total if total else 0.0

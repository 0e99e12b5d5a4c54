"""`estimates/<budget>/`: estimates of the samples that were not bought, block by block, and what is expected of them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stages.estimate.reading import Given
from tuition.errors import UserError
from tuition.estimators import Fitted, fit
from tuition.estimators.confidence import LEVEL, Confidence, calibrate, interval
from tuition.estimators.protocol import softmax
from tuition.files import file_digest, write_array, write_rows
from tuition.workspace import Estimates

ROWS = 10_000  # of the rest that are in memory together
AT_LEAST = (0.5, 0.7, 0.8, 0.9, 0.95)  # confidences whose coverage is told
WORST = 10  # classes that are named


def write_estimates(
    name: str, given: Given, folder: Estimates, joined: Callable[[Fitted], Fitted] | None = None
) -> dict[str, Any]:
    """Write `positions`, `probabilities` and `confidence` of the rest of the pool; returns what meta.json says.

    `joined` makes of the estimator `name` one in which others have a part. Raises UserError where all of the pool was bought.
    """
    bought = given.bought
    rest = np.setdiff1d(np.arange(len(bought.pool)), bought.positions)
    if not len(rest):
        raise UserError(
            f"estimate: all {len(bought.pool)} samples of data/train were bought; there is no rest to estimate"
        )
    fitted = fit(name, bought)
    if joined:
        fitted = joined(fitted)
    sure = calibrate(fitted.held_out, bought.logits)
    top, confidence = np.empty(len(rest), dtype=np.int64), np.empty(len(rest), dtype=np.float32)
    blocks = _blocks(fitted, sure, rest, top, confidence)
    write_rows(folder.probabilities, (len(rest), bought.logits.shape[1]), np.float16, blocks)
    write_array(folder.positions, rest)
    write_array(folder.confidence, confidence)
    return {
        "estimator": name,
        "settings": fitted.settings,
        "samples": len(rest),
        "outputs": given.outputs,
        "features": given.features,
        "probabilities": file_digest(folder.probabilities),
        "held_out": {"answers": sure.held_out, "agreement": round(sure.agreement, 4)},
        "expected_agreement": _expected(confidence, sure),
        "coverage": _coverage(confidence),
        "worst_classes": _worst(top, confidence, given.classes),
        "classes_never_bought": [given.classes[place] for place in bought.unseen],
    }


def summary(meta: dict[str, Any]) -> str:
    """A line for who waits."""
    expected = meta["expected_agreement"]
    line = (
        f"{meta['estimator']}: {meta['samples']} samples; the top class of {100 * expected['share']:.1f} % is expected to be the teacher's "
        f"({100 * expected['low']:.1f} to {100 * expected['high']:.1f} %, from {meta['held_out']['answers']} bought answers)"
    )
    never = meta["classes_never_bought"]
    return line + (
        f"; {len(never)} classes were never bought: {', '.join(never[:WORST])}{', …' * (len(never) > WORST)}"
        if never
        else ""
    )


def _blocks(
    fitted: Fitted, sure: Confidence, rest: np.ndarray, top: np.ndarray, confidence: np.ndarray
) -> Iterator[np.ndarray]:
    """The probabilities of `rest`, ROWS at a time; their top classes and confidences go to the other two (M,)."""
    for start in range(0, len(rest), ROWS):
        rows = slice(start, start + ROWS)
        logits = fitted.estimate(rest[rows])
        top[rows], confidence[rows] = logits.argmax(axis=1), sure.of(logits)
        yield softmax(logits)


def _expected(confidence: np.ndarray, sure: Confidence) -> dict[str, float]:
    """The share of the rest whose top class is the teacher's, and an interval that is as wide as so few held-out answers make it."""
    share = float(confidence.mean())
    low, high = interval(share, sure.held_out)
    return {"share": round(share, 4), "low": round(low, 4), "high": round(high, 4), "level": LEVEL}


def _coverage(confidence: np.ndarray) -> list[dict[str, float]]:
    """How much of the rest is at least so sure, and the agreement that is expected there; where there is any."""
    found = []
    for least in AT_LEAST:
        if (kept := confidence >= least).any():
            expected = float(confidence[kept].mean())
            found.append(
                {"at_least": least, "share": round(float(kept.mean()), 4), "expected_agreement": round(expected, 4)}
            )
    return found


def _worst(top: np.ndarray, confidence: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """The classes of which the estimates are least sure, of those that they name."""
    count = np.bincount(top, minlength=len(classes))
    mean = np.bincount(top, weights=confidence, minlength=len(classes)) / np.maximum(count, 1)
    named = np.flatnonzero(count)
    order = named[np.argsort(mean[named], kind="stable")][:WORST]
    return [
        {"class": classes[one], "samples": int(count[one]), "expected_agreement": round(float(mean[one]), 4)}
        for one in order
    ]

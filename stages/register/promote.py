"""Whether a challenger takes the champion's place: only if it is right on more of the same samples, beyond chance."""

from typing import NamedTuple

import numpy as np


class Verdict(NamedTuple):
    promoted: bool
    reason: str


def compare(challenger: np.ndarray, champion: np.ndarray, labels: np.ndarray, alpha: float) -> Verdict:
    """McNemar's exact test, two-sided, on the samples that one of the two gets right and the other wrong.

    Logits (N, classes) of both on the same N samples, and their labels (N,).
    """
    from scipy.stats import binomtest

    ours, theirs = challenger.argmax(1) == labels, champion.argmax(1) == labels
    gained, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    found = (
        f"top-1 {ours.mean():.4f} against the champion's {theirs.mean():.4f} on the same {len(labels)} test samples: "
        f"{gained} gained, {lost} lost, McNemar p = {p:.3g}"
    )
    if gained > lost and p < alpha:
        return Verdict(True, f"{found} < {alpha:g}")
    if gained <= lost:
        return Verdict(False, f"{found}; not better")
    return Verdict(False, f"{found}, not < {alpha:g}")

"""Whether scores are what `teacher.scores` promises: probabilities and percentages taken for logits spoil a student in silence."""

import numpy as np

from tuition.purchase.plausible.evidence import Evidence, Finding

NAME = "scale"
TOLERANCE = 0.01  # of the sum: rounding, half precision, 0.998 to 1.002
LEAST = 4  # answers, and
VALUES = 16  # numbers, before all of them in 0…1 tell something
MANY = 8  # answers, before sums that agree tell something
APART = 0.05  # the spread of sums, beside what it would be were scores of their spread unrelated


def check(evidence: Evidence) -> Finding:
    """See whether logits are something else."""
    scores = evidence.scores
    if scores is None or evidence.promised != "logits":
        return Finding(NAME, "skipped", "no logits were promised")
    if len(scores) < LEAST:
        return Finding(NAME, "skipped", "too few answers to tell", undecided=True)
    if looks := looks_like(scores):
        return Finding(NAME, "failed", *looks)
    known = scores[~np.isnan(scores)]
    return Finding(NAME, "passed", f"scores from {known.min():.3g} to {known.max():.3g}" if known.size else "no scores")


def looks_like(scores: np.ndarray) -> tuple[str, str] | None:
    """What scores (n, C) that should be logits look like, and what to do; None where they look like logits."""
    filled = np.nan_to_num(scores, nan=0.0)
    if scores.shape[1] < 2 or (filled < 0).any():
        return None
    sums, largest = filled.sum(1), float(filled.max())
    if largest in (1, 100) and ((filled == 0) | (filled == largest)).all() and ((filled > 0).sum(1) == 1).all():
        return (
            f"every answer is {largest:g} for one class and 0 for the others: a label, no scores",
            "set teacher.answers: labels where the kind takes it, or teacher.scores: probabilities with 1 for the class",
        )
    for whole, what, advice in (
        (1.0, "probabilities", "set teacher.scores: probabilities"),
        (100.0, "percentages", "divide them by 100 and set teacher.scores: probabilities"),
    ):
        if largest <= whole * (1 + TOLERANCE) and (np.abs(sums - whole) <= whole * TOLERANCE).all():
            span = f"{sums.min():.4g}" if sums.min() == sums.max() else f"{sums.min():.4g} to {sums.max():.4g}"
            return f"rows lie in 0…{whole:g} and sum to {span}: these look like {what}, not logits", advice
    if len(scores) >= MANY and are_shares(filled):
        about = f"{np.median(sums):.4g}"
        return (
            f"no score is below 0, and rows sum to {sums.min():.4g} to {sums.max():.4g}: these look like shares of {about}, not logits",
            f"divide them by {about} and set teacher.scores: probabilities",
        )
    if largest <= 1 and np.isfinite(scores).sum() >= VALUES:
        return (
            "every score lies in 0…1: these look like the values of a sigmoid, not logits",
            "give what goes into the sigmoid, or log(p), as logits",
        )
    return None


def are_shares(scores: np.ndarray) -> bool:
    """Whether scores (n, C), none below 0, are votes, per mille or bytes: different in each row, and all rows sum to one number.

    Sums that agree because all scores are nearly equal tell nothing; nor do rows of the same numbers in another order.
    """
    sums, whole = scores.sum(1), float(np.median(scores.sum(1)))
    if not (np.abs(sums - whole) <= whole * TOLERANCE).all() or (np.ptp(np.sort(scores, 1), axis=0) == 0).all():
        return False
    return bool(sums.std() <= APART * scores.std() * np.sqrt(scores.shape[1]))

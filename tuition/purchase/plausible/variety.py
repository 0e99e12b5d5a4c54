"""Whether different samples get different answers: a gateway or a function may give one answer to all.

Two samples with the same scores to the bit are no accident where scores are fine. Where they are coarse (one class, whole per cent) they
may well be the same for many samples, above all of two classes: then only labels that differ say otherwise. The same score for every
class is no answer to any sample.
"""

import numpy as np

from tuition.purchase.plausible.evidence import Evidence, Finding

NAME = "variety"
LEAST = 4  # samples
OTHERS = 20  # labels of other classes that a teacher with one coarse answer would all have missed


def check(evidence: Evidence) -> Finding:
    """See whether all answers are one."""
    some = evidence.of(evidence.distinct)
    number = len(some.samples)
    if number < 2 or not some.values.shape[1]:
        return Finding(NAME, "skipped", "fewer than two samples to compare")
    values = np.nan_to_num(some.values, nan=-1e300)
    kinds = 1 if (values == values[0]).all() else len(np.unique(values, axis=0))
    found = f"{kinds} different answers to {number} different samples"
    if kinds > 1:
        return Finding(NAME, "passed", found)
    if number < LEAST:
        return Finding(NAME, "skipped", f"the same answer to {number} samples: too few to tell", undecided=True)
    known = some.labels[some.labels >= 0]
    others = len(known) - int(np.bincount(known).max()) if len(known) else 0
    if is_coarse(some) and others < OTHERS:
        return Finding(NAME, "skipped", f"the same coarse answer to {number} samples: too few to tell")
    return Finding(
        NAME,
        "failed",
        f"{number} different samples got the same answer, to the bit",
        "see that the teacher is given the sample, and that nothing on the way keeps answers for other questions; then set another "
        "teacher.version",
    )


def is_coarse(evidence: Evidence) -> bool:
    """Whether the answers hold little: a class alone, or probabilities in whole per cent."""
    if evidence.hard:
        return True
    if evidence.scores is None:
        return False
    row = evidence.scores[0]
    known = row[~np.isnan(row)]
    if (kinds := len(np.unique(known))) <= 2:
        return kinds == 2 or len(known) < 2
    shares = np.exp(known - known.max())
    per_cent = 100 * shares / shares.sum()
    return bool((np.abs(per_cent - per_cent.round()) < 1e-3).all())

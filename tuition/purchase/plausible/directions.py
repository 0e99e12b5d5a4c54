"""Whether embeddings have directions, by which they are used: one of zeros has none. Their lengths are told."""

from tuition.purchase.plausible.evidence import Evidence, Finding
from tuition.targets.embeddings import told

NAME = "directions"


def check(evidence: Evidence) -> Finding:
    """See whether an embedding is zeros alone."""
    if not len(evidence.values):
        return Finding(NAME, "skipped", "no embedding")
    fine, found = told(evidence.values)
    advice = "see that each text reaches the model, and set another teacher.version"
    return Finding(NAME, "passed", found) if fine else Finding(NAME, "failed", found, advice)

"""A version held against the champion and the limits, from what the registry keeps of both."""

import json
from typing import TYPE_CHECKING

import numpy as np

from tuition.files import read_array
from tuition.params import Register
from tuition.registry.evidence import Evidence, read_evidence
from tuition.registry.history import last_demotion
from tuition.registry.verdict import Check, Verdict, guard_checks, paired_queries, paired_test, plain_check, verdict_of
from tuition.targets.truth import headline
from tuition.tracking.record import pool_digest
from tuition.tracking.store import Store
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

VERDICT = "verdict"  # a version's tag: how it was judged last


def decide_promotion(
    store: Store, champion: "ModelVersion | None", version: "ModelVersion", settings: Register, *, by_hand: bool = False
) -> Verdict:
    """Whether `version` is to be champion, and why; kept as the version's tag `verdict` unless it is asked `by_hand`.

    What a person has demoted is not promoted by itself again.
    """
    kept = read_evidence(store, version)
    first = _against(store, champion, version, kept, settings.alpha)
    checks = [first, *guard_checks(settings.guard.model_dump(), kept.metrics, kept.recalls, kept.latency)]
    if not by_hand and (was := last_demotion(version)):
        why = f" ({was['reason']})" if was["reason"] else ""
        says = f"version {version.version} was demoted on {was['at'][:10]} by {was['by']}{why}: `tuition promote` promotes it again"
        checks.append(plain_check("not demoted", False, says))
    verdict = verdict_of(checks)
    verdict["version"] = str(version.version)
    verdict["champion"] = None if champion is None else str(champion.version)
    if not by_hand:
        store.client.set_model_version_tag(version.name, version.version, VERDICT, json.dumps(verdict, sort_keys=True))
    return verdict


def _against(
    store: Store, champion: "ModelVersion | None", version: "ModelVersion", kept: Evidence, alpha: float
) -> Check:
    if champion is None:
        return plain_check("champion", True, "the first: there was no champion")
    if str(champion.version) == str(version.version):
        return plain_check("champion", True, "it is the champion already")
    them = f"version {champion.version}, the champion,"
    by_hand = "`tuition promote --force` decides by hand"
    if champion.tags.get("test_digest") != version.tags.get("test_digest"):
        return plain_check("paired test", False, f"{them} was tested on other samples: {by_hand}")
    theirs = read_evidence(store, champion)
    if kept.queries is not None or theirs.queries is not None:
        if kept.queries is None or theirs.queries is None or len(kept.queries) != len(theirs.queries):
            return plain_check("paired test", False, f"{them} has no figure by query of the same queries: {by_hand}")
        return paired_queries(kept.queries, theirs.queries, alpha, headline(kept.metrics.get("against")).test)
    other = theirs.logits
    if other is None:
        return plain_check("paired test", False, f"{them} has no test logits left: {by_hand}")
    logits, labels = kept.logits, kept.labels if kept.labels is not None else _labels(version)
    if logits is None or labels is None:
        return plain_check("paired test", False, f"version {version.version} has no test logits left: {by_hand}")
    if not len(logits) == len(other) == len(labels) or logits.shape != other.shape:
        shapes = f"{logits.shape} and {other.shape}"
        return plain_check("paired test", False, f"{them} has other logits, {shapes}: {by_hand}")
    return paired_test(logits, other, labels, alpha, kept.metrics.get("against"))


def _labels(version: "ModelVersion") -> np.ndarray | None:
    """The labels of the workspace's test split, where it is the one that the version was tested on."""
    path = Workspace().split("test").labels
    if not path.is_file() or pool_digest("test") != version.tags.get("test_digest"):
        return None
    return read_array(path)

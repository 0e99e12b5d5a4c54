"""A version held against the champion and the limits, from what the registry keeps of both."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tuition.files import read_array
from tuition.params import Register
from tuition.registry import evidence, history, promote
from tuition.registry.promote import Check, Verdict
from tuition.tracking import record
from tuition.tracking.store import Store

VERDICT = "verdict"  # a version's tag: how it was judged last


def decide(store: Store, champion: Any | None, version: Any, settings: Register, *, by_hand: bool = False) -> Verdict:
    """Whether `version` is to be champion, and why; kept as the version's tag `verdict` unless it is asked `by_hand`.

    What a person has demoted is not promoted by itself again.
    """
    ours = evidence.read(store, version)
    first = _against(store, champion, version, ours, settings.alpha)
    checks = [first, *promote.guards(settings.guard.model_dump(), ours["metrics"], ours["recalls"], ours["latency"])]
    if not by_hand and (was := history.demotion(version)):
        why = f" ({was['reason']})" if was["reason"] else ""
        says = f"version {version.version} was demoted on {was['at'][:10]} by {was['by']}{why}: `tuition promote` promotes it again"
        checks.append(promote.beside("not demoted", False, says))
    verdict = promote.judge(checks)
    verdict |= {"version": str(version.version), "champion": None if champion is None else str(champion.version)}
    if not by_hand:
        store.client.set_model_version_tag(version.name, version.version, VERDICT, json.dumps(verdict, sort_keys=True))
    return verdict


def _against(store: Store, champion: Any | None, version: Any, ours: dict[str, Any], alpha: float) -> Check:
    if champion is None:
        return promote.beside("champion", True, "the first: there was no champion")
    if str(champion.version) == str(version.version):
        return promote.beside("champion", True, "it is the champion already")
    them = f"version {champion.version}, the champion,"
    by_hand = "`tuition promote --force` decides by hand"
    if champion.tags.get("test_digest") != version.tags.get("test_digest"):
        return promote.beside("paired test", False, f"{them} was tested on other samples: {by_hand}")
    theirs = evidence.read(store, champion)["logits"]
    if theirs is None:
        return promote.beside("paired test", False, f"{them} has no test logits left: {by_hand}")
    labels = ours["labels"] if ours["labels"] is not None else _labels(version)
    if ours["logits"] is None or labels is None:
        return promote.beside("paired test", False, f"version {version.version} has no test logits left: {by_hand}")
    if not len(ours["logits"]) == len(theirs) == len(labels) or ours["logits"].shape != theirs.shape:
        shapes = f"{ours['logits'].shape} and {theirs.shape}"
        return promote.beside("paired test", False, f"{them} has other logits, {shapes}: {by_hand}")
    return promote.compare(ours["logits"], theirs, labels, alpha)


def _labels(version: Any) -> np.ndarray | None:
    """The labels of the workspace's test split, where it is the one that the version was tested on."""
    folder = Path("data/test")
    if not (folder / "labels.npy").is_file() or record.pool_digest("test") != version.tags.get("test_digest"):
        return None
    return read_array(folder / "labels.npy")

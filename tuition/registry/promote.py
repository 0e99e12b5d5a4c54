"""Whether a challenger takes the champion's place: right on more of the same samples, beyond chance, and within every limit.

A verdict is plain data, printed, kept in the registry and in `report/registered.json`:
{"promoted": bool, "reason": text, "checks": [{"check", "passed", "found", "limit", "says"}, …]}.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Check = dict[str, Any]
Verdict = dict[str, Any]


def compare(challenger: np.ndarray, champion: np.ndarray, labels: np.ndarray, alpha: float) -> Check:
    """McNemar's exact test, two-sided, on the samples that one of the two gets right and the other wrong.

    Logits (N, classes) of both on the same N samples, and their labels (N,).
    """
    from scipy.stats import binomtest

    ours, theirs = challenger.argmax(1) == labels, champion.argmax(1) == labels
    gained, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    passed = gained > lost and p < alpha
    says = (
        f"top-1 {ours.mean():.4f} against the champion's {theirs.mean():.4f} on the same {len(labels)} test samples: "
        f"{gained} gained, {lost} lost, McNemar p = {p:.3g}"
    )
    says += f" < {alpha:g}" if passed else f", not < {alpha:g}" if gained > lost else "; not better"
    return {
        "check": "paired test",
        "passed": passed,
        "found": p,
        "limit": alpha,
        "says": says,
        "samples": len(labels),
        "top1": float(ours.mean()),
        "champion_top1": float(theirs.mean()),
        "gained": gained,
        "lost": lost,
    }


def beside(name: str, passed: bool, says: str) -> Check:
    """A check without a number."""
    return {"check": name, "passed": passed, "found": None, "limit": None, "says": says}


def guards(
    limits: Mapping[str, float | None],
    metrics: Mapping[str, Any],
    recalls: Mapping[str, float],
    latency: Mapping[str, Any],
) -> list[Check]:
    """A check for each of `register.guard` that is set: a figure that is not known does not keep its limit.

    `recalls` are by class, without the classes that the test split has no samples of.
    """
    worst = min(recalls, key=lambda name: recalls[name], default=None)
    found: dict[str, tuple[Any, str, str]] = {
        "max_ece": (metrics.get("ece"), "calibration error", "test/metrics.json"),
        "min_class_recall": (
            recalls[worst] if worst is not None else None,
            f"recall of class {worst}",
            "test/per_class.csv",
        ),
        "max_latency_ms": (latency.get("single_ms"), f"ms an image on {latency.get('device')}", "test/latency.json"),
        "max_bytes": (metrics.get("size_bytes"), "bytes of weights", "test/metrics.json"),
    }
    return [_guard(key, limit, *found[key]) for key, limit in limits.items() if limit is not None]


def _guard(key: str, limit: float, value: Any, words: str, file: str) -> Check:
    if value is None:
        return {
            "check": key,
            "passed": False,
            "found": None,
            "limit": limit,
            "says": f"{key}: not known, {file} of this version lacks it",
        }
    passed = value >= limit if key.startswith("min_") else value <= limit
    sign = (">=" if passed else "<") if key.startswith("min_") else ("<=" if passed else ">")
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    of_limit = f"{limit:,}" if isinstance(limit, int) else f"{limit:.4g}"
    return {
        "check": key,
        "passed": passed,
        "found": value,
        "limit": limit,
        "says": f"{key}: {words} {shown} {sign} {of_limit}",
    }


def judge(checks: Sequence[Check]) -> Verdict:
    """Promoted where every check is passed. The reason is what the first check says, then each one that is broken."""
    broken = [check["says"] for check in checks[1:] if not check["passed"]]
    reason = (
        "; but ".join([checks[0]["says"], *broken]) if checks[0]["passed"] else "; ".join([checks[0]["says"], *broken])
    )
    return {"promoted": all(check["passed"] for check in checks), "reason": reason, "checks": list(checks)}

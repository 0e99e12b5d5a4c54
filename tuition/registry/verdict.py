"""Whether a challenger takes the champion's place: right on more of the same samples, beyond chance, and within every limit.

A verdict is plain data, printed, kept in the registry and in `report/registered.json`:
{"promoted": bool, "reason": text, "checks": [{"check", "passed", "found", "limit", "says"}, …]}.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

import numpy as np

from tuition.targets.truth import word

FIGURES = {"ndcg10": "nDCG@10", "token_accuracy": "token accuracy"}  # by query


class Check(TypedDict):
    check: str
    passed: bool
    found: float | None
    limit: float | None
    says: str
    samples: NotRequired[int]
    top1: NotRequired[float]
    champion_top1: NotRequired[float]
    ndcg10: NotRequired[float]
    champion_ndcg10: NotRequired[float]
    token_accuracy: NotRequired[float]
    champion_token_accuracy: NotRequired[float]
    gained: NotRequired[int]
    lost: NotRequired[int]


class Verdict(TypedDict):
    promoted: bool
    reason: str
    checks: list[Check]
    version: NotRequired[str]
    champion: NotRequired[str | None]


def paired_test(
    challenger: np.ndarray, champion: np.ndarray, labels: np.ndarray, alpha: float, against: str | None = None
) -> Check:
    """McNemar's exact test, two-sided, on the samples that one of the two gets right and the other wrong.

    Logits (N, classes) of both on the same N samples, and their labels (N,), −1 where unknown: such samples do not count.
    `against`: what the labels are, as metrics.json says it.
    """
    from scipy.stats import binomtest

    known = labels >= 0
    challenger, champion, labels = challenger[known], champion[known], labels[known]
    right, champion_right = challenger.argmax(1) == labels, champion.argmax(1) == labels
    gained, lost = int((right & ~champion_right).sum()), int((~right & champion_right).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    passed = gained > lost and p < alpha
    figure = word(against) if against == "teacher" else "top-1"
    says = (
        f"{figure} {right.mean():.4f} against the champion's {champion_right.mean():.4f} on the same {len(labels)} test samples: "
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
        "top1": float(right.mean()),
        "champion_top1": float(champion_right.mean()),
        "gained": gained,
        "lost": lost,
    }


def paired_queries(challenger: np.ndarray, champion: np.ndarray, alpha: float, key: str = "ndcg10") -> Check:
    """The paired t-test, two-sided, of a figure by query (Q,) of both on the same queries; `key`: its name."""
    from scipy.stats import ttest_rel

    same = bool((challenger == champion).all())
    p = 1.0 if same else float(ttest_rel(challenger, champion).pvalue)
    better = float(challenger.mean()) > float(champion.mean())
    passed = better and p < alpha
    says = (
        f"{FIGURES[key]} {challenger.mean():.4f} against the champion's {champion.mean():.4f} on the same {len(champion)} test queries: "
        f"better on {int((challenger > champion).sum())}, worse on {int((challenger < champion).sum())}, paired t-test p = {p:.3g}"
    )
    says += f" < {alpha:g}" if passed else f", not < {alpha:g}" if better else "; not better"
    check: dict[str, object] = {
        "check": "paired test",
        "passed": passed,
        "found": p,
        "limit": alpha,
        "says": says,
        "samples": len(champion),
        key: float(challenger.mean()),
        f"champion_{key}": float(champion.mean()),
    }
    return cast(Check, check)


def plain_check(name: str, passed: bool, says: str) -> Check:
    """A check without a number."""
    return {"check": name, "passed": passed, "found": None, "limit": None, "says": says}


def guard_checks(
    limits: Mapping[str, float | None],
    metrics: Mapping[str, Any],
    recalls: Mapping[str, float],
    latency: Mapping[str, Any],
) -> list[Check]:
    """A check for each of `register.guard` that is set: a figure that is not known does not keep its limit.

    `recalls` are by class, without the classes that the test split has no samples of.
    """
    worst = min(recalls, key=lambda name: recalls[name], default=None)
    found: dict[str, tuple[float | None, str, str]] = {
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


def _guard(key: str, limit: float, value: float | None, words: str, file: str) -> Check:
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


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Promoted where every check is passed. The reason is what the first check says, then each one that is broken."""
    broken = [check["says"] for check in checks[1:] if not check["passed"]]
    reason = (
        "; but ".join([checks[0]["says"], *broken]) if checks[0]["passed"] else "; ".join([checks[0]["says"], *broken])
    )
    return {"promoted": all(check["passed"] for check in checks), "reason": reason, "checks": list(checks)}

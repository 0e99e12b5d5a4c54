"""The checks of answers by name, and running them."""

from collections.abc import Callable, Collection

from tuition.errors import UserError
from tuition.purchase.plausible import directions, labels, scale, variety
from tuition.purchase.plausible.evidence import Evidence, Finding

CHECKS: dict[str, Callable[[Evidence], Finding]] = {
    labels.NAME: labels.check,
    variety.NAME: variety.check,
    scale.NAME: scale.check,
}


def run(evidence: Evidence, unchecked: Collection[str]) -> list[Finding]:
    """What each check finds, in the order of CHECKS; those in `unchecked` (teacher.unchecked) are not run."""
    checks = CHECKS | ({directions.NAME: directions.check} if evidence.embeddings else {})
    return [
        Finding(name, "unchecked", "named in teacher.unchecked") if name in unchecked else check(evidence)
        for name, check in checks.items()
    ]


def error(name: str, findings: Collection[Finding], then: str) -> UserError | None:
    """What to stop with where a check failed; `then`: what becomes of the calls."""
    failed = [one for one in findings if one.state == "failed"]
    if not failed:
        return None
    what = "; ".join(f"{one.name}: {one.found}. To mend it: {one.advice}" for one in failed)
    names = ", ".join(one.name for one in failed)
    return UserError(
        f"teacher {name!r}: its answers are not plausible. {what}. {then} (Where they are right all the same: teacher.unchecked: [{names}])"
    )

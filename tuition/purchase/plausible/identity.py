"""Whether all answers come from the model that the first one named: another model's answers are other outputs."""

from collections.abc import Mapping

from tuition.identity import Identity
from tuition.purchase.plausible.evidence import Finding

NAME = "identity"


def check(found: Mapping[Identity, int]) -> Finding:
    """Hold what owned answers name against one another: `found` says how many name what, in the order in which they came.

    Models and versions must be the same wherever they are named. Backends may differ: at large providers they change from call to call.
    """
    named = {one: number for one, number in found.items() if one.model or one.version}
    if not named:
        return Finding(NAME, "skipped", f"no answer names its model{_backends(found)}")
    first = Identity(
        *(next((value for one in named if (value := getattr(one, key))), "") for key in ("model", "version"))
    )
    others: dict[Identity, int] = {}
    for one, number in named.items():
        if _differs(one.model, first.model) or _differs(one.version, first.version):
            other = Identity(one.model, one.version)
            others[other] = others.get(other, 0) + number
    if not others:
        return Finding(NAME, "passed", f"every answer that names a model names {first}{_backends(found)}")
    listed = ", ".join(f"{number} {other}" for other, number in others.items())
    return Finding(
        NAME,
        "failed",
        f"the first answers name {first}; of those after them name {listed}",
        "ask for one model by its full name (teacher.model, teacher.options), and set another teacher.version: then all is bought of one",
    )


def _differs(one: str, first: str) -> bool:
    return bool(one) and one != first


def _backends(found: Mapping[Identity, int]) -> str:
    number = len({one.backend for one in found if one.backend})
    return f"; {number} backends answered, which is reported and no more" if number > 1 else ""

"""What a budget came to in all: the calls that its methods share, and what was bought beside them for some."""

from typing import Any

BESIDE = {
    "mixed": "mixed inputs",
    "recheck": "asking again",
    "evaluation": "validation and test",
}  # keys of spend.json, and their words


def purchases_beside(spend: dict[str, Any]) -> dict[str, tuple[int, float]]:
    """{what: (calls, cost)} bought beside a budget's own calls: mixed inputs, answers asked again, further teachers by name."""
    beside = {
        words: (spend[f"{key}_calls"], spend.get(f"{key}_cost", 0.0))
        for key, words in BESIDE.items()
        if spend.get(f"{key}_calls")
    }
    for name, one in spend.get("teachers", {}).items():
        more = sum(one.get(f"{key}_calls", 0) for key in BESIDE), sum(one.get(f"{key}_cost", 0.0) for key in BESIDE)
        beside[f"teacher {name}"] = (one["calls"] + more[0], one["cost"] + more[1])
    return beside


def total_spend(spend: dict[str, Any]) -> tuple[int, float]:
    """(calls, cost) of a budget in all."""
    beside = purchases_beside(spend).values()
    return spend["calls"] + sum(calls for calls, _ in beside), spend["cost"] + sum(cost for _, cost in beside)


def remarks(spend: dict[str, Any]) -> list[str]:
    """What became of calls that count as spent and brought no usable answer, how to see them, and which texts were not shown whole."""
    lines = []
    for name, one in {"": spend, **spend.get("teachers", {})}.items():
        of = f" of teacher {name}" if name else ""
        if unknown := one.get("unknown_calls"):
            lines.append(f"{unknown} calls{of} are unknown and count as spent: see `tuition ledger unknown`")
        if unusable := one.get("unusable_calls"):
            lines.append(f"{unusable} calls{of} gave nothing usable: see `tuition ledger calls --malformed`")
        if shortened := one.get("shortened_texts"):
            lines.append(f"{shortened} texts{of} were cut to teacher.max_text_tokens before they were asked about")
    return lines

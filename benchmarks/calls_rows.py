"""The rows of `benchmarks.calls`: means over seeds with intervals, and our method against each rival, seed by seed."""

from typing import Any

import numpy as np

OURS = "pool-ckd"


def rows_of(done: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a (regime, budget, method, student, steps): n seeds, top1, low and high (95 %, of the mean) in %, and each seed's value."""
    rows = []
    for group, values in _groups(done).items():
        regime, budget, method, student, steps = group
        mean, low, high, _ = _interval(list(values.values()))
        row = {"regime": regime, "budget": int(budget), "method": method, "student": student, "steps": int(steps)}
        rows.append(row | {"n": len(values), "top1": mean, "low": low, "high": high, "values": list(values.values())})
    return sorted(rows, key=lambda row: (row["student"], row["steps"], row["regime"], row["budget"], -row["top1"]))


def paired(done: dict[str, Any]) -> list[dict[str, Any]]:
    """Ours less each rival of the same regime, budget, student and steps, over the seeds that both have: mean, interval and p."""
    groups, rows = _groups(done), []
    for (regime, budget, method, student, steps), values in groups.items():
        ours = groups.get((regime, budget, OURS, student, steps), {})
        both = sorted(set(ours) & set(values))
        if method == OURS or len(both) < 2:
            continue
        mean, low, high, p = _interval([ours[seed] - values[seed] for seed in both])
        row = {"regime": regime, "budget": int(budget), "rival": method, "student": student, "steps": int(steps)}
        rows.append(row | {"n": len(both), "difference": mean, "low": low, "high": high, "p": p})
    return rows


def with_fewer_calls(done: dict[str, Any]) -> list[dict[str, Any]]:
    """Ours in the pool less each rival that sees the bought samples alone and has four times as many, as `paired`."""
    groups, rows = _groups(done), []
    for (regime, budget, method, student, steps), values in groups.items():
        ours = groups.get(("pool", str(int(budget) // 4), OURS, student, steps), {})
        both = sorted(set(ours) & set(values))
        if regime != "few" or len(both) < 2:
            continue
        mean, low, high, p = _interval([ours[seed] - values[seed] for seed in both])
        row = {"budget": int(budget) // 4, "rival": method, "rival_budget": int(budget), "student": student}
        rows.append(row | {"steps": int(steps), "n": len(both), "difference": mean, "low": low, "high": high, "p": p})
    return rows


def _groups(done: dict[str, Any]) -> dict[tuple[str, ...], dict[str, float]]:
    """Top-1 in % by seed, of each group of cells."""
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for key, cell in done.items():
        *group, seed = key.split("/")
        groups.setdefault(tuple(group), {})[seed] = round(100 * cell["top1"], 2)
    return groups


def _interval(values: list[float]) -> tuple[float, float, float, float | None]:
    from stages.report import study

    mean, low, high, _ = study.interval(values)
    if np.isnan(low):
        return round(mean, 2), round(mean, 2), round(mean, 2), None
    return round(mean, 2), round(low, 2), round(high, 2), study.p_value(values)

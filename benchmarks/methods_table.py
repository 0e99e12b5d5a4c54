"""The tables of docs/methods.md, from the results of `benchmarks.methods` and `benchmarks.step_time`: every method, one table a study."""

import json
from typing import Any

from benchmarks.common import RESULTS, ROOT

PAGE = ROOT / "docs/methods.md"
MARK = "<!-- What follows is written by `uv run python -m benchmarks.methods_table`, from the files in benchmarks/results/. -->"
STUDIES = {"methods_digits": "Digits", "methods_cifar": "CIFAR-100, 20 of its classes, 16×16 pixels"}


def main() -> None:
    there = [name for name in [*STUDIES, "step_time", "step_time_ckd"] if (RESULTS / f"{name}.json").exists()]
    found = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in there}
    times = found["step_time"]["figures"] | found.get("step_time_ckd", {}).get(
        "figures", {}
    )  # the later has more pairs
    steps = {name: one["median"] for name, one in times.items()} | {"ce": 1.0}
    before, mark, _ = PAGE.read_text().partition(MARK)
    assert mark, f"{PAGE} has lost its mark: {MARK}"
    parts = [before + MARK]
    for name, title in ((name, title) for name, title in STUDIES.items() if name in found):
        parts += [
            f"### {title}",
            said(found[name]),
            table(found[name]["figures"]["rows"], steps),
            verdict(found[name]["figures"]["rows"]),
        ]
    PAGE.write_text("\n\n".join(parts) + "\n")
    print(f"written: {PAGE.relative_to(ROOT)}")


def said(found: dict[str, Any]) -> str:
    spend = next(iter(found["figures"]["spend"].values()))
    mixed = " (`mixkd`: half of them mixed inputs)" if "mixed_calls" in spend else ""
    again = "".join(f"; later `{one['command']}`" for one in found.get("measured_again", []))
    teacher = 100 * found["figures"]["teacher_top1"]
    return (
        f"Teacher: {teacher:.1f} % on the same test samples. Calls as in the column{mixed}. `{found['command']}`{again}"
    )


def table(rows: list[dict[str, Any]], steps: dict[str, float]) -> str:
    budgets = sorted({row["budget"] for row in rows})
    heads = ["method", *(f"{b} calls | Δ `ce` | Δ `kd`" for b in budgets), "step"]
    lines = [
        "| " + " | ".join(heads) + " |",
        "|" + "|".join([":--"] + ["--:", ":--", ":--"] * len(budgets) + ["--:"]) + "|",
    ]
    for name in dict.fromkeys(row["method"] for row in rows):
        of = {row["budget"]: row for row in rows if row["method"] == name}
        cells = [
            f"{of[b]['top1']:.1f} ({of[b]['low']:.1f}–{of[b]['high']:.1f}) | {gap(of[b], 'ce')} | {gap(of[b], 'kd')}"
            for b in budgets
        ]
        step = f"{steps[name]:.2f}" if name in steps else "–"
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {step} |")
    return "\n".join(lines)


def gap(row: dict[str, Any], base: str) -> str:
    if row["method"] == base:
        return "–"
    low, high = row[f"to_{base}_low"], row[f"to_{base}_high"]
    text = f"{row[f'to_{base}']:+.1f} ({low:+.1f} to {high:+.1f})"
    return f"**{text}**" if low > 0 or high < 0 else text


def verdict(rows: list[dict[str, Any]]) -> str:
    """How many methods are better and worse than kd and than ce beyond their intervals, by budget."""
    said = []
    for budget in sorted({row["budget"] for row in rows}):
        for base in ("kd", "ce"):
            others = [row for row in rows if row["budget"] == budget and row["method"] != base]
            better = sum(row[f"to_{base}_low"] > 0 for row in others)
            worse = sum(row[f"to_{base}_high"] < 0 for row in others)
            said.append(f"{budget} calls: of {len(others)}, {better} better and {worse} worse than `{base}`")
    return "Beyond the interval: " + "; ".join(said) + "."


if __name__ == "__main__":
    main()

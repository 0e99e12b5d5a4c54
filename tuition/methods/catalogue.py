"""The table of methods, from what their classes say of themselves."""

import inspect
from typing import TypedDict

from tuition.methods.registry import BUILT_IN, card, load_class, settings_of

WIDTH = 150  # where there is no terminal to ask


class Row(TypedDict):
    """What the table says of a method; `settings` are its defaults."""

    name: str
    title: str
    source: str
    evidence: str
    signals: list[str]
    views: str
    compares: bool
    label_use: str
    inputs: list[str]
    calls: float
    price: str
    settings: dict[str, object]


def catalogue() -> list[Row]:
    """One row a method: name, title, source, evidence, signals, views, compares, label_use, inputs, calls (a sample), price, settings
    (defaults).

    `calls` are those of `teacher`; `price` says in words how many a sample takes of all teachers together.

    Evidence is code (read in the authors' code), abs (only an abstract was readable), mem (common knowledge, unchecked) or ours.
    """
    rows: list[Row] = []
    for name in BUILT_IN:
        about, kind = card(name), load_class(name)
        settings: dict[str, object] = {key: one.default for key, one in settings_of(kind).items()}
        if about.weight_ce:
            settings["weight_ce"] = about.weight_ce
        rows.append(
            {
                "name": name,
                "title": _title(name),
                "source": about.source,
                "evidence": about.evidence,
                "signals": list(about.signals),
                "views": about.views,
                "compares": about.compares,
                "label_use": about.label_use,
                "inputs": list(about.inputs),
                "calls": about.calls,
                "price": f"{about.calls:g}" + (" + number of teachers" if about.several else ""),
                "settings": settings,
            }
        )
    return rows


def _title(name: str) -> str:
    """What follows the name in the first line of the method's file, up to its source."""
    text = inspect.getmodule(load_class(name)).__doc__ or ""  # type: ignore[union-attr]
    first = text.strip().split("\n\n")[0].replace("\n", " ")
    return first.partition(": ")[2].split(" (")[0].split(". ")[0].strip().rstrip(".")


def print_catalogue() -> None:
    """Print the table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("method", "what", "source", "evidence", "teacher's signals", "views", "labels", "inputs", "calls"):
        table.add_column(
            heading, overflow="fold", no_wrap=heading in ("method", "evidence", "views", "labels", "inputs", "calls")
        )
    for row in catalogue():
        reads = ", ".join(row["signals"]) or "none"
        compares = ", in comparisons" if row["compares"] else ""
        table.add_row(
            row["name"],
            row["title"],
            row["source"],
            row["evidence"],
            reads + compares,
            row["views"],
            row["label_use"],
            ", ".join(row["inputs"]) or "any",
            row["price"].replace("number of ", ""),
        )
    shown = Console()
    if not shown.is_terminal:
        shown = Console(width=WIDTH)
    shown.print(table)
    print(
        "\nLabels: used where they are; needed: without any, only with +kd, as nothing else teaches the classes.\n"
        "Each also with `+kd`, or under a name of your own: `methods.<name>: {method: …, …}`. Evidence: code, read in the authors'\n"
        "code; abs, only an abstract was readable; mem, common knowledge, unchecked; ours. Calls: the teacher's, a sample.\n"
        "mixkd asks for mixed inputs (teach.mixed), for which a study pays half a budget more. 1 + teachers: each of `teachers` is asked\n"
        "for the same samples, too.\n"
        "Settings and their defaults: `tuition methods --json`; formulas: tuition/methods/<method>.py"
    )

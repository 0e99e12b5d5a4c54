"""report.html: one page that stands for itself, from the same rows as report.md and from what the best student answers."""

from typing import Any

import numpy as np

from stages.report import best, cascade, confusion
from stages.report.charts import chart
from stages.report.forecast import forecast
from stages.report.gallery import gallery
from stages.report.intervals import share_interval
from stages.report.pool_map import pool_map
from stages.report.rendering import render
from tuition.files import read_array, read_json
from tuition.params import Params
from tuition.spend import purchases_beside, remarks, total_spend
from tuition.tables import read_rows
from tuition.targets import truth
from tuition.workspace import Workspace, cell_name

MORE = (100, 400, 1600)
WORDS = {  # how the page calls a share, what it is held against, and an answer that counts
    "labels": {"figure": "top-1", "truth": "label", "held": "right"},
    "teacher": {"figure": "agreement", "truth": "teacher", "held": "agreeing"},
}
Row = dict[str, Any]


def report_page(params: Params, study: dict[str, Any], summary: list[Row]) -> str:
    """The whole page. `study` and `summary` are of `study`."""
    cell = best.best_cell(study)
    here, largest = Workspace(), max(study["budgets"])
    classes = [str(one) for one in study["data"]["classes"]]
    wanted = np.asarray(truth.read_truth(here, "test", cell[0]))
    logits = np.asarray(read_array(here.results(cell_name(*cell)).logits))
    owned = best.owned(largest)
    told = teacher_figures(params, study, owned)
    return render(
        "report.html",
        name=params.registry.name,
        best={"cell": cell_name(*cell), "method": cell[1], "calls": study["spend"][cell[0]]["calls"]},
        row=next(r for r in summary if (r["budget"], r["method"]) == cell[:2]),
        headline=headline(study["right"][cell]),
        measure=truth.word(study["against"]),
        **WORDS[study["against"]],
        intervals=any(r["low"] == r["low"] for r in summary),
        labelled=owned is not None and bool((owned.labels >= 0).any()),
        teacher=told,
        summary=summary,
        curves=accuracy_charts(study, summary, told),
        next_calls=next_calls(study),
        confused=confusion.confused(logits.argmax(axis=1), wanted, classes),
        matrix=confusion.matrix(logits.argmax(axis=1), wanted, len(classes)).tolist()
        if len(classes) <= confusion.WHOLE
        else [],
        classes=classes,
        hardest=confusion.hardest(read_rows(here.results(cell_name(*cell)).per_class)),
        reliability=reliability_chart(logits, wanted, WORDS[study["against"]]["held"]),
        cascade=cascade_of(study, cell, logits, wanted, owned, told),
        gallery=pictures_of(cell, owned, classes),
        training=training_chart(study, cell),
        estimates=study["estimates"],
        pool_map=pool_map(largest, owned),
        spend=spend_rows(study),
        lost=remarks(study["spend"][largest]),
        checks=plausibility(largest),
    )


def headline(right: np.ndarray) -> Row:
    """The best student's own share of right answers, `right` (N,) bool, and Wilson's interval: what another test set would change."""
    low, high = share_interval(int(right.sum()), len(right))
    return {"top1": float(right.mean()), "low": low, "high": high, "n": len(right)}


def teacher_figures(params: Params, study: dict[str, Any], owned: best.Owned | None) -> Row:
    """The teacher's own share of right answers: on bought samples with a label, and on validation where `pretrain` trained it."""
    known = np.zeros(0, bool) if owned is None else (owned.labels >= 0) & (owned.teacher >= 0)
    n = int(known.sum())
    right = 0 if owned is None else int((owned.teacher == owned.labels)[known].sum())
    validation = study["teacher"].get("val_top1")
    low, high = share_interval(right, n)
    bought = right / n if n else None
    return {
        "n": n,
        "bought": bought,
        "low": low,
        "high": high,
        "validation": validation,
        "top1": validation if validation is not None else bought,  # one trained here has seen the bought samples
        "name": study["outputs"][study["budgets"][0]].get("teacher", {}).get("name", params.teacher.name),
    }


def accuracy_charts(study: dict[str, Any], summary: list[Row], teacher: Row) -> list[Any]:
    """Against calls and, where calls cost something, against money."""
    level = None if teacher["top1"] is None else ("teacher", 100 * teacher["top1"])
    money = {b: total_spend(study["spend"][b])[1] for b in study["budgets"]}

    def drawn(place: Any, x: str) -> Any:
        lines = [
            (m, [(place(r), 100 * r["top1"], 100 * r["low"], 100 * r["high"]) for r in summary if r["method"] == m])
            for m in study["methods"]
        ]
        return chart(lines, x, f"{WORDS[study['against']]['figure']}, %", level)

    found = [drawn(lambda r: r["calls"], "teacher calls")]
    return [*found, drawn(lambda r: money[r["budget"]], "money spent")] if any(money.values()) else found


def next_calls(study: dict[str, Any]) -> list[Row]:
    """A row a method: what it has at the largest budget, and forecasts; [] where there are too few budgets."""
    samples, now = len(next(iter(study["right"].values()))), study["spend"][max(study["budgets"])]["calls"]
    rows = []
    for method in study["methods"]:
        points = [
            (study["spend"][b]["calls"], [study["metrics"][b, method, s]["top1"] for s in study["seeds"]])
            for b in study["budgets"]
        ]
        if found := forecast(points, [now + more for more in MORE], samples):
            rows.append({"method": method, "now": float(np.mean(points[-1][1])), "found": found})
    return rows


def reliability_chart(logits: np.ndarray, wanted: np.ndarray, held: str) -> Any:
    bins = confusion.reliability(logits, wanted)
    points = []
    for sure, right, n in bins:
        low, high = share_interval(round(right * n), n)
        points.append((100 * sure, 100 * right, 100 * low, 100 * high))
    return chart([("student", points)], "confidence, %", f"{held}, %", diagonal=True) if points else None


def cascade_of(
    study: dict[str, Any], cell: Any, logits: np.ndarray, wanted: np.ndarray, owned: best.Owned | None, teacher: Row
) -> list[Row]:
    """On the test split, and on the teacher's answers that a student has not seen. Validation chose the student, so it isn't used."""
    found, name = [], cell_name(*cell)
    known = cascade.answers(logits, wanted)
    if study["against"] == "teacher":
        basis = (
            f"Agreement with the teacher, of student {name}, on {len(known)} test samples that the teacher answered."
        )
        found.append(cascade_row(study, basis, "agreeing", known, 1.0))
    elif teacher["top1"] is not None:
        basis = (
            f"Right by the labels, of student {name}, on {len(known)} test samples. "
            "The teacher is taken to be as good on what it is handed as on all samples; on hard ones it may be worse."
        )
        found.append(cascade_row(study, basis, "right", known, teacher["top1"]))
    smaller = [c for c in study["metrics"] if c[0] < max(study["budgets"])]
    if owned is not None and smaller:
        less = best.best_cell(study | {"metrics": {c: study["metrics"][c] for c in smaller}})
        unseen = ~np.isin(owned.positions, np.asarray(read_array(Workspace().outputs(less[0]).positions)))
        own = best.ask(less, owned.samples, len(owned.positions))
        if own is not None and unseen.sum() >= 2:
            basis = (
                f"Agreement with the teacher, of student {cell_name(*less)}, on {int(unseen.sum())} owned answers that it was not "
                "trained on. They are like the pool only where calls were bought in random order."
            )
            found.append(
                cascade_row(study, basis, "agreeing", cascade.answers(own[unseen], owned.teacher[unseen]), 1.0)
            )
    return [row for row in found if row is not None]


def cascade_row(study: dict[str, Any], basis: str, word: str, known: cascade.Answers, teacher: float) -> Row | None:
    """The curve of all samples; thresholds are chosen on one half of them and tried on the other. None where there are no two."""
    if len(known) < 2:
        return None
    chosen, tried = cascade.halves(known)
    spent = study["spend"][max(study["budgets"])]
    price = spent["cost"] / spent["calls"] if spent["calls"] else 0.0
    curve = cascade.curve(known, teacher)
    nothing = float("nan")
    lines = [
        (f"all answers {word}", [(100 * x, 100 * y, nothing, nothing) for x, y, _ in curve]),
        (f"kept answers {word}", [(100 * x, 100 * y, nothing, nothing) for x, _, y in curve[:-1]]),
    ]
    return {
        "basis": basis,
        "word": word,
        "chart": chart(lines, "handed on to the teacher, %", "%"),
        "rows": [{"handed": x, "all": y, "kept": z, "saved": (1 - x) * 1000 * price} for x, y, z in curve[::4]],
        "promises": [promise_row(chosen, tried, share) for share in cascade.PROMISES],
        "chosen": len(chosen),
        "price": price,
    }


def promise_row(chosen: cascade.Answers, tried: cascade.Answers, share: float) -> Row:
    found = cascade.promise(chosen, tried, share)
    low, high = share_interval(found.kept_wrong, found.tried) if found else (float("nan"), float("nan"))
    return {"share": share, "found": found, "low": low, "high": high, "fewest": cascade.fewest(share)}


def pictures_of(cell: Any, owned: best.Owned | None, classes: list[str]) -> list[Row]:
    if owned is None:
        return []
    own = best.ask(cell, owned.samples, len(owned.positions))
    return [] if own is None else gallery(owned, own, classes)


def training_chart(study: dict[str, Any], cell: Any) -> Any:
    """Validation top-1 by step, of the best student's budget: one line a method, its first seed; None where none has two points."""
    lines = []
    for method in study["methods"]:
        path = Workspace().student(cell_name(cell[0], method, study["seeds"][0])).history
        if path.is_file():
            rows = [row for row in read_rows(path) if row.get("val_top1")]
            lines.append(
                (method, [(int(r["step"]), 100 * float(r["val_top1"]), float("nan"), float("nan")) for r in rows])
            )
    figure = f"validation {WORDS[study['against']]['figure']}, %"
    return chart(lines, "step", figure) if any(len(points) > 1 for _, points in lines) else None


def spend_rows(study: dict[str, Any]) -> list[Row]:
    """A row a budget: calls, cost, usable answers, and what was bought beside them."""
    return [
        {
            "budget": b,
            **study["spend"][b],
            "further": study["spend"][b].get("repeat_calls", 0),
            "beside": purchases_beside(study["spend"][b]),
            "total": total_spend(study["spend"][b]),
        }
        for b in study["budgets"]
    ]


def plausibility(budget: int) -> list[Row]:
    """What the checks found of the largest budget's answers; [] where none were made."""
    path = Workspace().outputs(budget).plausible
    return read_json(path).get("checks", []) if path.is_file() else []

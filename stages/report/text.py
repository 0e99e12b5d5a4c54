"""The report in words. Losses are told as plainly as wins, and a wide interval is called one."""

from collections.abc import Callable, Iterable
from math import isnan
from typing import Any

from stages.report.estimated import estimates_text
from stages.report.study import BASELINES
from tuition.inputs.kinds import inputs_of
from tuition.params import Params
from tuition.spend import BESIDE, purchases_beside, remarks, total_spend
from tuition.targets.truth import word
from tuition.workspace import Workspace

Row = dict[str, Any]
FEW = 5  # seeds below which the interval is mostly the t-distribution's tail
MANY = 24  # differences that are told in sentences; more make a table


def report_text(params: Params, study: dict[str, Any], summary: list[Row], paired: list[Row], needed: list[Row]) -> str:
    """The whole report.md. `study` is from `study.collect`, the rows from the functions beside it."""
    parts = [
        f"# What {_calls(max(r['calls'] for r in summary))} bought",
        _studied(params, study),
        "## Results\n\n" + _held(study) + _table(summary, study.get("against")),
        f"![Top-1 {word(study.get('against'))} against teacher calls](accuracy.svg)",
        "## Differences on the same seeds\n\n" + _differences(study, paired),
        "![Paired differences to the baselines](paired.svg)",
        *_estimated(study),
        "## Calls needed\n\n" + _needed(study, needed),
        "## What was spent\n\n" + _spent(study),
        "## How to read this\n\n" + _reading(study, paired),
        "## Where to look further\n\n" + _further(params),
    ]
    return "\n\n".join(parts) + "\n"


def _estimated(study: dict[str, Any]) -> list[str]:
    """What is estimated of the rest of the pool, where anything is."""
    if not (rows := study["estimates"]):
        return []
    told = (
        "The share of samples whose estimated top class is expected to be the teacher's, by held-out bought answers; and the share that "
        "was, of the samples that a larger budget bought."
    )
    return ["## What is estimated of the rest\n\n" + told + "\n\n" + estimates_text(rows)]


def _studied(params: Params, study: dict[str, Any]) -> str:
    data, first = study["data"], study["outputs"][study["budgets"][0]]
    teacher, splits = first.get("teacher", {}), data["splits"]
    inputs = inputs_of(data)
    size = inputs.size(data, " × ")
    known = f", validation top-1 {_percent(study['teacher']['val_top1'])} %" if "val_top1" in study["teacher"] else ""
    lines = [
        f"- **Data**: `{data['source']}`, {len(data['classes'])} classes, {inputs.NAME} {size}; {splits['train']} to train, "
        f"{splits['val']} to select, {splits['test']} to test.{_altered(data)}",
        f"- **Teacher**: {teacher.get('name', params.teacher.name)} ({params.teacher.kind}{known}).",
        f"- **Student**: {params.student.arch}, {_parameters(study)} parameters; {params.train.steps} steps of "
        f"{params.train.batch_size}.",
        f"- **Budgets**: {_list(study['budgets'])} teacher calls, bought in {params.teach.strategy} order{_views(params)}; "
        f"a smaller budget is part of a larger one.",
        f"- **Methods**: {'; '.join(_method(study, m) for m in study['methods'])}.",
        f"- **Seeds**: {_list(study['seeds'])}.",
    ]
    return "\n".join(lines)


def _views(params: Params) -> str:
    """What was bought of a sample, where that is not the sample as it is."""
    if params.teach.views == 1:
        return ""
    return f", each sample in {params.teach.views} augmented views, a call each, which students see as they were bought"


def _altered(data: dict[str, Any]) -> str:
    """What `data.imbalance` and `data.noise` did, where they did something."""
    done = data.get("altered")
    if not done:
        return ""
    counts = done["classes_after"]
    return (
        f" Training labels replaced at random: {done['flipped']} (noise {done['noise']:g}); samples a class from {max(counts)} down to "
        f"{min(counts)} (imbalance {done['imbalance']:g}); validation and test are clean. A teacher of the pretrain stage learned "
        "from the same altered samples."
    )


def _method(study: dict[str, Any], method: str) -> str:
    meta = study["students"][study["budgets"][0], method, study["seeds"][0]]
    own = (meta.get("settings") or {}).get(method) or {}
    settings = [f"{key} {value}" for key, value in sorted(own.items())]
    compared = meta.get("comparisons") or {}
    if compared.get("strategy") not in (None, "none"):
        size = f", k {compared['k']}" if compared.get("k") else ""
        settings.append(f"{compared['strategy']} comparisons{size}")
    return f"`{method}`" + (f" ({', '.join(settings)})" if settings else "")


def _held(study: dict[str, Any]) -> str:
    """What figures are of, where they are not of labels."""
    if study.get("against") != "teacher":
        return ""
    return (
        "No sample of val and test has a label: **every figure here is agreement with the teacher, not accuracy** (its top class on "
        f"{_list(sorted({m['n_test'] for m in study['metrics'].values()}))} test samples that were bought for it). A student that copies "
        "the teacher's errors agrees with it. With a small labelled set (`data.evaluation`) the same study speaks of accuracy.\n\n"
    )


def _table(summary: list[Row], against: str | None = None) -> str:
    bought = ", bought samples" if against == "teacher" else ""
    share = "top-1 %" if against != "teacher" else f"{word(against)} %"
    probed = any(not isnan(r["transfer_top1"]) for r in summary)
    lines = [
        f"| calls | method | sees | seeds | {share} | 95 % interval | sd | macro-F1 % | NLL | ECE | agrees with teacher{bought} % | cost |"
        + (" transfer top-1 % |" if probed else ""),
        "|---:|:---|:---|---:|---:|:---:|---:|---:|---:|---:|---:|---:|" + ("---:|" if probed else ""),
    ]
    for r in summary:
        span = "–" if isnan(r["low"]) else f"{_percent(r['low'])} … {_percent(r['high'])}"
        sd, f1, agreement, transfer = (
            _dash(r[key], _percent) for key in ("sd", "macro_f1", "agreement", "transfer_top1")
        )
        lines.append(
            f"| {r['calls']} | `{r['method']}` | {r['regime']} | {r['n']} | {_percent(r['top1'])} | {span} | {sd} | {f1} "
            f"| {r['nll']:.3f} | {r['ece']:.3f} | {agreement} | {r['cost']:.2f} |"
            + (f" {transfer} |" if probed else "")
        )
    return "\n".join(lines)


def _differences(study: dict[str, Any], paired: list[Row]) -> str:
    shown = [r for r in paired if not mirrored(r, study["methods"])]
    if len(shown) > MANY:
        return _differences_table(shown)
    lines = [f"- {difference(r)}" for r in shown]
    return "\n".join(lines) or f"None: the study holds no baseline ({_list(BASELINES)}) beside another method."


def _differences_table(shown: list[Row]) -> str:
    """Many paired differences, one a row; the verdict claims no more than the interval."""
    lines = ["| calls | method | against | points | 95 % interval | p | |", "|---:|:---|:---|---:|:---:|---:|:---|"]
    for r in shown:
        span = "–" if isnan(r["low"]) else f"{r['low']:+.2f} … {r['high']:+.2f}".replace("-", "−")
        p = "–" if isnan(r["p"]) else f"{r['p']:.2g}"
        word = "**better**" if r["low"] > 0 else "**worse**" if r["high"] < 0 else "not shown"
        points = f"{r['difference']:+.2f}".replace("-", "−")
        lines.append(f"| {r['budget']} | `{r['method']}` | `{r['baseline']}` | {points} | {span} | {p} | {word} |")
    return "\n".join(lines)


def mirrored(row: Row, methods: list[str]) -> bool:
    """Whether another row says the same with the sign turned: `ce` against `kd`, where `kd` against `ce` is told."""
    return row["method"] == BASELINES[0] and row["baseline"] == BASELINES[1] and BASELINES[0] in methods


def difference(row: Row) -> str:
    """One paired difference in a sentence that claims no more than its interval."""
    subject = f"{row['budget']} calls: `{row['method']}`"
    counts = f"Test answers that only one of them has right: {row['wins']} to {row['losses']}."
    points, seeds = f"{row['difference']:+.2f} points".replace("-", "−"), _seeds(row["n"])
    if row["n"] == 1:
        return (
            f"{subject} against `{row['baseline']}`: {points} with one seed. One seed has no interval, "
            f"so no difference is shown. {counts}"
        )
    if isnan(row["low"]):
        return (
            f"{subject} against `{row['baseline']}`: {points} in each of {seeds}. Without spread there is no interval, "
            f"so no difference is shown. {counts}"
        )
    span = f"95 % interval {row['low']:+.2f} to {row['high']:+.2f}".replace("-", "−")
    tail = f"p = {row['p']:.2g}, {seeds}"
    if row["low"] > 0 or row["high"] < 0:
        word = "better" if row["low"] > 0 else "worse"
        size = f"{abs(row['difference']):.2f} points"
        return f"{subject} is **{word}** than `{row['baseline']}` by {size} ({span}; {tail}). {counts}"
    wide = f" {seeds} make a wide interval." if row["n"] < FEW else ""
    return f"{subject} against `{row['baseline']}`: no difference is shown ({points}, {span}; {tail}).{wide} {counts}"


def _needed(study: dict[str, Any], needed: list[Row]) -> str:
    if not needed:
        return f"Not asked: the study holds no baseline ({_list(BASELINES)})."
    parts = []
    for baseline in dict.fromkeys(r["baseline"] for r in needed):
        rows = [r for r in needed if r["baseline"] == baseline]
        parts.append(
            f"`{baseline}` reaches {_percent(rows[0]['target'])} % with {_calls(rows[0]['baseline_calls'])}. "
            f"To get there on average:\n\n"
            + "\n".join(f"- `{r['method']}`: {r['relation']} {_calls(round(r['calls']))}" for r in rows)
        )
    note = "Read off the line between the budgets' means, on log₂ of the calls; the means' own intervals apply."
    return "\n\n".join([*parts, note])


def _spent(study: dict[str, Any]) -> str:
    spend = [study["spend"][budget] for budget in study["budgets"]]
    beside = list(
        dict.fromkeys(what for s in spend for what in purchases_beside(s))
    )  # in the order in which they were bought
    columns = ["budget", "calls", *beside, "cost", "usable answers"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---:|" * len(columns)]
    for budget, s in zip(study["budgets"], spend, strict=True):
        more = [f" {purchases_beside(s).get(what, (0, 0.0))[0]} |" for what in beside]
        lines.append(f"| {budget} | {s['calls']} |{''.join(more)} {total_spend(s)[1]:.2f} | {s['usable']} |")
    used = []
    if BESIDE["mixed"] in beside:
        used.append("`mixkd` used half of the clean answers of its budget and as many mixed ones.")
    if any("teachers" in s for s in spend):
        used.append(
            "Methods of several teachers (`multi-kd`) used the further teachers' answers, too, and so cost more calls."
        )
    others = "Every other method and seed" if used else "Every method and seed"
    used.append(f"{others} used the same answers.")
    lost = "".join(f"\n- {line}." for line in remarks(spend[-1]))
    told = f"\n\nOf the largest budget:\n{lost}" if lost else ""
    return "\n".join(lines) + f"\n\nBudgets are nested, so the largest row is the whole bill. {' '.join(used)}{told}"


def _reading(study: dict[str, Any], paired: list[Row]) -> str:
    shown = sum(not mirrored(r, study["methods"]) for r in paired)
    lines = [
        f"- Top-1 is the share of test samples whose {'label' if study.get('against') != 'teacher' else 'top class by the teacher'} has "
        "the highest logit; macro-F1 is the mean of the classes' F1, in which a rare class counts as much as a frequent one; NLL (nats) "
        "and ECE (expected calibration error) are better when lower. Agreement is with the teacher, on the samples that were bought.",
        "- Intervals of top-1 share one spread between seeds, pooled over all budgets and methods on the logit scale; those of "
        "differences are Student's t over seeds. They cover what changes with the seed (initial weights, order "
        "of samples), not another test set and not another draw of bought samples.",
        "- A paired difference compares two methods seed by seed, which takes out what a seed does to both. It is "
        "shown only where the whole interval lies on one side of zero.",
    ]
    if len(study["seeds"]) > 1:
        lines.append(
            "- Faint marks are single seeds. The picture of accuracy cuts intervals that reach far beyond them."
        )
    lines.append("- A hollow mark is a mean without an interval.")
    if study["transfer"]:
        lines.append(
            "- Transfer top-1 is that of a linear classifier on the frozen student's embeddings of other data (`transfer.source`), "
            "trained, selected and tested on the splits of those; a mean over seeds."
        )
    if shown > 1:
        lines.append(
            f"- {shown} differences are told, each at 95 % and without a correction: expect one in twenty to stand out by chance."
        )
    if "ce" in study["methods"]:
        lines.append("- `ce` learns from the labels of the bought samples; it uses none of the teacher's answers.")
    return "\n".join(lines)


def _further(params: Params) -> str:
    return "\n".join(
        [
            f"- `mlflow ui --backend-store-uri sqlite:///{Workspace().mlflow_database}`: every cell's parameters, curves and metrics.",
            "- `dvc metrics show`, `dvc plots show`: the same figures by file; `dvc metrics diff` against another commit.",
            f"- `models:/{params.registry.name}@challenger`: the student chosen by validation.",
            "- `cells.csv`, `summary.csv`, `paired.csv`, `curve.csv` beside this file: the numbers behind it.",
        ]
    )


def _parameters(study: dict[str, Any]) -> str:
    return _list(sorted({f"{m['parameters']:,}" for m in study["metrics"].values()}))


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _dash(value: float, form: Callable[[float], str]) -> str:
    return "–" if isnan(value) else form(value)


def _calls(n: int) -> str:
    return f"{n} call" if n == 1 else f"{n} calls"


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _list(values: Iterable[object]) -> str:
    return ", ".join(str(v) for v in values)

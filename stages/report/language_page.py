"""The report on a study of language models: report.md and report.html."""

from math import isnan

from stages.report.by_text_page import best_and_rest, difference
from stages.report.language import FIGURE, LOSS
from stages.report.rendering import render
from stages.report.study import Row
from tuition.inputs.kinds import workspace_inputs
from tuition.inputs.texts.files import read_references
from tuition.params import Params
from tuition.spend import total_spend
from tuition.workspace import Workspace

EXAMPLES, MOST = 6, 48  # prompts of the page, and tokens of a text


def report_text(params: Params, study: Row, summary: list[Row], paired: list[Row]) -> str:
    """The whole report.md."""
    data, metrics = study["data"], next(iter(study["metrics"].values()))
    teacher, sizes = (
        study["outputs"][study["budgets"][0]].get("teacher", {}).get("name", params.teacher.name),
        data["splits"],
    )
    asked = "writes a text to each prompt" if params.teach.texts == "own" else "scores each prompt's reference"
    lines = [
        f"# What {max(r['calls'] for r in summary)} calls bought",
        "",
        f"- **Data**: `{data['source']}`, {sizes['train']} prompts to train, {sizes['val']} to select, {sizes['test']} to test.",
        f"- **Teacher**: {teacher} ({params.teacher.kind}), which {asked}{_teacher(study)}.",
        f"- **Student**: {params.student.arch}, {metrics['parameters']:,} parameters; {params.train.steps} steps of "
        f"{params.train.batch_size} texts.",
        f"- **Methods**: {', '.join(study['methods'])}. **Seeds**: {', '.join(map(str, study['seeds']))}.",
        "",
        "## Results",
        "",
        *_table(summary),
        "",
        "Token accuracy: higher is better. NLL, in nats a token: lower is better.",
        "",
        "![Token accuracy against teacher calls](accuracy.svg)",
        "",
        "## Differences of token accuracy on the same texts",
        "",
        *([f"- {difference(row, 'texts')}" for row in paired] or ["None: the study holds one method."]),
        "",
        "![Paired differences](paired.svg)",
        "",
        "## What was spent",
        "",
        "| budget | calls | cost | usable answers | tokens of the teacher's texts |",
        "|---:|---:|---:|---:|---:|",
        *(_spent(study, summary, budget) for budget in study["budgets"]),
        "",
        "Budgets are nested, so the largest row is the whole bill. A call is one text written or scored. Every method and seed used the "
        "same answers; `sft` used none of them, but the references of the same prompts.",
        "",
        "## How to read this",
        "",
        "- Token accuracy is the mean over test texts of the share of a reference's tokens that the student, shown the prompt and the "
        "tokens before, has as the likeliest; NLL is the mean over all tokens of the references, the end of each among them.",
        f"- Exact match is of the texts that it writes to the first {metrics['n_written']} test prompts, but for case and spaces.",
        "- Intervals are Student's t over seeds; those of differences are over texts, of each text's mean over seeds.",
        "- `cells.csv`, `summary.csv`, `paired.csv` and `curve.csv` beside this file are the numbers behind it; "
        "`results/<cell>/per_class.csv` has every text's.",
    ]
    return "\n".join(lines) + "\n"


def report_page(params: Params, study: Row, summary: list[Row], paired: list[Row]) -> str:
    """The whole report.html."""
    shown = best_and_rest(params, study, summary, FIGURE, LOSS, "token accuracy")
    return render(
        "language.html",
        **shown,
        teacher=study["teacher"],
        paired=[difference(row, "texts") for row in paired],
        examples=examples(shown["best"]["cell"]),
    )


def examples(cell: str) -> list[Row]:
    """The first test prompts, their references, and what a student writes to them."""
    from tuition.models.causal import load_causal, write  # torch is for this page alone

    here = Workspace()
    test, inputs = here.split("test"), workspace_inputs()
    causal = load_causal(here.student(cell).path, f"students/{cell}")
    prompts, references = inputs.read(test.path)[:EXAMPLES], read_references(test)[:EXAMPLES]
    made = write(causal.model, causal.sequences.prompts(prompts, "data: test"), MOST, causal.sequences.context)
    return [
        {
            "prompt": inputs.shown(prompt)["text"],
            "reference": inputs.shown(reference)["text"],
            "text": causal.sequences.text_of(ids),
        }
        for prompt, reference, ids in zip(prompts, references, made, strict=True)
    ]


def _table(summary: list[Row]) -> list[str]:
    lines = [
        "| calls | method | seeds | token accuracy % | 95 % interval | sd | NLL | 95 % interval | perplexity | exact match % | cost |",
        "|---:|:---|---:|---:|:---:|---:|---:|:---:|---:|---:|---:|",
    ]
    for r in summary:
        span = "–" if isnan(r["low"]) else f"{100 * r['low']:.2f} … {100 * r['high']:.2f}"
        nll = "–" if isnan(r["nll_low"]) else f"{r['nll_low']:.3f} … {r['nll_high']:.3f}"
        sd = "–" if isnan(r["sd"]) else f"{100 * r['sd']:.2f}"
        lines.append(
            f"| {r['calls']} | `{r['method']}` | {r['n']} | {100 * r['token_accuracy']:.2f} | {span} | {sd} | {r['nll']:.3f} | {nll} "
            f"| {r['perplexity']:.1f} | {100 * r['exact_match']:.2f} | {r['cost']:.2f} |"
        )
    return lines


def _teacher(study: Row) -> str:
    known = study["teacher"]
    if not known:
        return ""
    return f"; on validation {100 * known['val_token_accuracy']:.2f} % token accuracy and {known['val_nll']:.3f} nats a token"


def _spent(study: Row, summary: list[Row], budget: int) -> str:
    spent, tokens = study["spend"][budget], next(row["tokens"] for row in summary if row["budget"] == budget)
    calls, cost = total_spend(spent)
    return f"| {budget} | {calls} | {cost:.2f} | {spent['usable']} | {tokens} |"

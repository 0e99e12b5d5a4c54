"""The report on a study of retrieval: report.md and report.html."""

from math import isnan

import numpy as np

from stages.report.by_text_page import best_and_rest, difference
from stages.report.rendering import render
from stages.report.retrieval import FIGURE, LOSS
from stages.report.study import Row
from tuition.files import read_array
from tuition.inputs.kinds import workspace_inputs
from tuition.params import Params
from tuition.spend import total_spend
from tuition.targets.ranking import rank
from tuition.workspace import Workspace

EXAMPLES, DEPTH = 6, 3  # queries of the page, and documents of each


def report_text(params: Params, study: Row, summary: list[Row], paired: list[Row]) -> str:
    """The whole report.md."""
    data, metrics = study["data"], next(iter(study["metrics"].values()))
    teacher = study["outputs"][study["budgets"][0]].get("teacher", {}).get("name", params.teacher.name)
    queries = data["queries"]
    lines = [
        f"# What {max(r['calls'] for r in summary)} calls bought",
        "",
        f"- **Data**: `{data['source']}`, {data['documents']} documents; {queries['train']} queries to train, {queries['val']} to select, "
        f"{queries['test']} to test.",
        f"- **Teacher**: {teacher} ({params.teacher.kind}){_teacher(study)}.",
        f"- **Student**: {params.student.arch}, {metrics['parameters']:,} parameters, an index of {metrics['index_bytes'] / 1e6:.1f} MB; "
        f"{params.train.steps} steps of {params.train.batch_size} queries.",
        f"- **Methods**: {', '.join(study['methods'])}. **Seeds**: {', '.join(map(str, study['seeds']))}.",
        "",
        "## Results",
        "",
        *_table(summary),
        "",
        "![nDCG@10 against teacher calls](accuracy.svg)",
        "",
        "## Differences on the same queries",
        "",
        *([f"- {difference(row, 'queries')}" for row in paired] or ["None: the study holds one method."]),
        "",
        "![Paired differences](paired.svg)",
        "",
        "## What was spent",
        "",
        "| budget | calls | cost | usable answers |",
        "|---:|---:|---:|---:|",
        *(_spent(study, budget) for budget in study["budgets"]),
        "",
        "Budgets are nested, so the largest row is the whole bill. A call is one text embedded, a document or a query. Every method and "
        "seed used the same answers.",
        "",
        "## How to read this",
        "",
        "- nDCG@10, MRR@10 and recall@100 are means over test queries, each held against all documents; gains are linear, as trec_eval has "
        "them.",
        "- Intervals of nDCG@10 are Student's t over seeds; those of differences are over queries, of each query's mean over seeds. "
        "They tell of other queries, not of another collection.",
        "- `cells.csv`, `summary.csv`, `paired.csv` and `curve.csv` beside this file are the numbers behind it; "
        "`results/<cell>/per_class.csv` has every query's.",
    ]
    return "\n".join(lines) + "\n"


def report_page(params: Params, study: Row, summary: list[Row], paired: list[Row]) -> str:
    """The whole report.html."""
    shown = best_and_rest(params, study, summary, FIGURE, LOSS, "nDCG@10")
    return render(
        "retrieval.html",
        **shown,
        paired=[difference(row, "queries") for row in paired],
        examples=examples(shown["best"]["cell"]),
    )


def examples(cell: str) -> list[Row]:
    """Some test queries, and the texts that a student finds first, each with whether it is relevant."""
    here = Workspace()
    test, inputs = here.split("test"), workspace_inputs()
    queries, pool = inputs.read(test.path)[:EXAMPLES], inputs.read(here.split("train").path)
    embedded = np.asarray(read_array(here.results(cell).logits))[:EXAMPLES]
    rows, _ = rank(embedded, np.asarray(read_array(here.student(cell).index)), DEPTH)
    known = set(map(tuple, read_array(test.relevance)[:, :2].tolist()))
    return [
        {
            "query": inputs.shown(query)["text"],
            "found": [(inputs.shown(pool[row])["text"], (place, row) in known) for row in found],
        }
        for place, (query, found) in enumerate(zip(queries, rows.tolist(), strict=True))
    ]


def _table(summary: list[Row]) -> list[str]:
    lines = [
        "| calls | method | seeds | nDCG@10 % | 95 % interval | sd | MRR@10 % | recall@100 % | cost |",
        "|---:|:---|---:|---:|:---:|---:|---:|---:|---:|",
    ]
    for r in summary:
        span = "–" if isnan(r["low"]) else f"{100 * r['low']:.2f} … {100 * r['high']:.2f}"
        sd = "–" if isnan(r["sd"]) else f"{100 * r['sd']:.2f}"
        lines.append(
            f"| {r['calls']} | `{r['method']}` | {r['n']} | {100 * r['ndcg10']:.2f} | {span} | {sd} | {100 * r['mrr10']:.2f} "
            f"| {100 * r['recall100']:.2f} | {r['cost']:.2f} |"
        )
    return lines


def _teacher(study: Row) -> str:
    known = [one for one in study["metrics"].values() if "teacher_ndcg10" in one]
    if not known:
        return (
            "; its own figures are not known: they need all documents and some test queries bought (teach.evaluation)"
        )
    one = known[-1]
    return f"; its nDCG@10 is {100 * one['teacher_ndcg10']:.2f} % on {one['n_teacher']} test queries"


def _spent(study: Row, budget: int) -> str:
    spent = study["spend"][budget]
    calls, cost = total_spend(spent)
    return f"| {budget} | {calls} | {cost:.2f} | {spent['usable']} |"

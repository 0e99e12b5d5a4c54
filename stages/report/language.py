"""A study of language models as rows: token accuracy and NLL of its cells, with intervals over seeds.

Token accuracy, higher is better, is what students are told apart by: the mean over test texts of the share of a reference's tokens that
the student, shown those before, has as the likeliest. NLL, lower is better, is in nats a token of all references. Differences are paired
by text.
"""

from math import exp

import numpy as np

from stages.report import by_text
from stages.report.study import Row, interval
from tuition.files import read_json
from tuition.params import Params
from tuition.workspace import Workspace

FIGURE, LOSS = "token_accuracy", "nll"
TOLD = ("token_accuracy", "nll", "exact_match")
FIGURES = (*TOLD, "low", "high")  # of metrics.json
CELL_COLUMNS = [
    *("budget", "method", "seed", *TOLD, "val_token_accuracy", "val_nll", "tokens_bought", "parameters"),
    *("size_bytes", "n_test", "n_tokens", "n_written"),
]
SUMMARY_COLUMNS = [
    *("budget", "method", "regime", "n", "calls", "tokens", "token_accuracy", "sd", "low", "high"),
    *("nll", "nll_low", "nll_high", "perplexity", "exact_match", "cost"),
]
CURVE_COLUMNS = ["calls", "method", "token_accuracy", "low", "high", "nll"]


def collect(params: Params) -> Row:
    """Everything the report is made of, as `by_text.collect`."""
    meta = Workspace().teacher.meta
    made = read_json(meta) if meta.is_file() else {}
    teacher = {key: made[key] for key in ("val_token_accuracy", "val_nll") if key in made}
    return by_text.collect(params, "recall") | {"against": "references", "teacher": teacher}


def summary_rows(study: Row) -> list[Row]:
    """One row a budget and method: means over seeds, intervals of token accuracy and NLL, the calls, tokens and money its answers took."""
    rows = []
    for budget in study["budgets"]:
        for method in study["methods"]:
            of = [study["metrics"][budget, method, s] for s in study["seeds"]]
            mean, low, high, sd = interval([one["token_accuracy"] for one in of])
            nll, nll_low, nll_high, _ = interval([one["nll"] for one in of])
            rows.append(
                {
                    "budget": budget,
                    "method": method,
                    "regime": "few",
                    "n": len(study["seeds"]),
                    "calls": study["spend"][budget]["calls"],
                    "tokens": of[0]["tokens_bought"],
                    "token_accuracy": mean,
                    "sd": sd,
                    "low": low,
                    "high": high,
                    "nll": nll,
                    "nll_low": nll_low,
                    "nll_high": nll_high,
                    "perplexity": exp(nll),
                    "exact_match": float(np.mean([one["exact_match"] for one in of])),
                    "cost": study["spend"][budget]["cost"],
                }
            )
    return rows
